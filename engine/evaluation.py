"""From gauges and figures to findings: what a change of value, of configuration or of time means for the states of alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from engine.alerts.kinds import GAUGED, INVOICES
from engine.alerts.ladder import Gauge
from engine.alerts.states import Input, State
from engine.alerts.stored import StateKey, sub_key_text, sub_key_values
from engine.alerts.tracker import ALARMED, Finding, Occasion, Tracker
from engine.alerts.watch import Scope, Watch, alert_group, group_names, scope_of
from engine.catalog import Alert, AlertType
from engine.effects import TriggeredBy
from engine.live import LiveGauges
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period
from engine.standing import Figures, gone

_OVERTAKEN = {Input.PERIOD_END: Input.PERIOD_END_OVERTAKEN, Input.FINAL: Input.FINAL_OVERTAKEN}

Moved = Mapping[Scope, Period]
"""By scope: the period that its current states had before a change, where it is another one now."""


def tell(tracker: Tracker, live: LiveGauges, findings: Iterable[Finding], occasion: Occasion) -> None:
    """Takes findings on gauges of one occasion to the tracker: lowest threshold first, then by alert, older lives first, and of
    one life the newest period first."""

    def order(finding: Finding) -> tuple[object, ...]:
        head = live.calendar(finding.alert).head(finding.period)
        return *_order(finding._replace(period=head)), finding.period != head, -finding.period.ending_hour

    for finding in sorted(findings, key=order):
        tracker.find(finding._replace(cause=_in_its_life(tracker, live, finding)), occasion)


def _in_its_life(tracker: Tracker, live: LiveGauges, finding: Finding) -> Input:
    """What a finding means beside the other periods of its life: one that is over tells no alarm while another is in alarm."""
    alert, group, cause = finding.alert, finding.group, finding.cause
    calendar = live.calendar(alert)
    head = calendar.head(finding.period)
    if finding.period == head:
        return cause
    state = tracker.state(alert.id, finding.period, group)
    others = calendar.siblings[finding.period]
    if cause is Input.ABOVE and state is State.OK and any(tracker.state(alert.id, each, group) in ALARMED for each in others):
        return Input.ABOVE_TOO_LATE
    if cause is Input.BELOW and state is State.IN_ALARM and tracker.state(alert.id, head, group) in ALARMED:
        return Input.BELOW_OVERTAKEN
    return cause


def crossings(due: Sequence[Gauge], period_told: Callable[[Gauge], Period | None] | None = None) -> list[Finding]:
    """Which rungs the gauges that left their headroom have crossed; gives each its new headroom. ``period_told``: see Finding."""
    findings: list[Finding] = []
    for gauge in due:
        former = gauge.settle()
        low, high = sorted((former, gauge.rung))
        cause = Input.ABOVE if gauge.rung > former else Input.BELOW
        told = period_told(gauge) if period_told is not None and low < high else None
        for alert in gauge.ladder.alerts[low:high]:
            group = alert_group(alert, group_names(alert), gauge.group)
            findings.append(Finding(alert, gauge.period, group, cause, gauge.before, gauge.value, None, told))
    return findings


def turn(tracker: Tracker, watch: Watch, was: LiveGauges, live: LiveGauges, now_us: int) -> Moved:
    """The current frame of one scope or more has ended. A state whose life goes on is held against the new sum; one whose life is
    over ends. Returns from which periods states have moved on."""
    moved: dict[Scope, Period] = {}
    ended: list[StateKey] = []
    findings: list[Finding] = []
    for scope, calendar in live.calendars.items():
        old, new = was.calendars[scope].current, calendar.current
        if old.span == new.span and old.parts() == new.parts():
            continue
        alerts = watch.gauged(scope)
        if not old.goes_on_in(new):
            ended += [key for key, _ in tracker if key.period == old.span and key.alert_id in alerts]
            continue
        moved[scope] = old.span
        closed = old.closed().span
        for key in tracker.move(old.span, new.span, alerts, closed if closed in calendar.frames else None):
            alert, group = watch.alerts[key.alert_id], sub_key_values(key.sub_key)
            if tracker.at(key) in ALARMED and not live.is_past(alert, key.period, group):
                value = live.value(alert, key.period, group) or ZERO
                before = _before(was, alert, old.span, group, value)
                findings.append(Finding(alert, key.period, group, Input.BELOW, before, value))
    tell(tracker, live, findings, Occasion(TriggeredBy.PERIOD_RESET, now_us))
    end_states(tracker, ended, Input.PERIOD_END, watch, was, live, now_us)
    return moved


def end_states(
    tracker: Tracker, keys: Iterable[StateKey], cause: Input, watch: Watch, was: LiveGauges | None, live: LiveGauges, now_us: int
) -> None:
    """Ends a period's states: PERIOD_END or FINAL. The value told is that of the current period, at this moment."""
    findings: list[Finding] = []
    for key in keys:
        alert, group = watch.alerts[key.alert_id], sub_key_values(key.sub_key)
        current = live.calendar(alert).current.span
        overtaken = tracker.state(alert.id, current, group) in ALARMED or live.is_past(alert, current, group)
        value = live.value(alert, current, group) or ZERO
        found = _OVERTAKEN[cause] if overtaken else cause
        findings.append(Finding(alert, key.period, group, found, _before(was, alert, key.period, group, value), value))
    tell(tracker, live, findings, Occasion(TriggeredBy.PERIOD_RESET, now_us))


def reconcile(
    tracker: Tracker,
    watch: Watch,
    live: LiveGauges,
    occasion: Occasion,
    *,
    was: LiveGauges | None = None,
    new: frozenset[str] = frozenset(),
    moved: Moved | None = None,
) -> int:
    """Holds every state against its gauge; returns how many gauges there were.

    ``was``: the gauges before the change, for the value before it, which current states had in the periods of ``moved``. ``new``:
    alerts that the customer meets for the first time: those are told as "creation", or held silently, and do not look back at
    periods that are over. Nor is a closed picture that is past the line looked back at, beside a state that lives on: only late
    usage raises an alarm there, which a reset may tell again.
    """
    findings, first, looked_at = [], [], 0
    hour = occasion.timestamp_us // HOUR_US

    def before(alert: Alert, period: Period, group: tuple[str, ...], value: Decimal) -> Decimal:
        scope = scope_of(alert)
        current = period == live.calendars[scope].current.span
        return _before(was, alert, (moved or {}).get(scope, period) if current else period, group, value)

    for board, gauge in live.gauges():
        looked_at += 1
        for alert in gauge.ladder.alerts[: gauge.rung]:
            group = alert_group(alert, group_names(alert), gauge.group)
            if tracker.state(alert.id, gauge.period, group) is not State.OK:
                continue
            found = Finding(alert, gauge.period, group, Input.ABOVE, before(alert, gauge.period, group, gauge.value), gauge.value)
            if alert.id in new:
                first.append(found._replace(cause=_first_cause(alert, over=board.frame.ending_hour <= hour)))
                continue
            beside = live.calendar(alert).head(gauge.period) != gauge.period
            too_late = beside and occasion.triggered_by is not TriggeredBy.RESET
            findings.append(found._replace(cause=Input.ABOVE_TOO_LATE) if too_late else found)
    for key, state in tracker:
        alert, group = watch.alerts[key.alert_id], sub_key_values(key.sub_key)
        if alert.type not in GAUGED:
            continue
        if state in ALARMED and not live.is_past(alert, key.period, group) and live.is_live(alert, key.period):
            value = live.value(alert, key.period, group) or ZERO
            findings.append(Finding(alert, key.period, group, Input.BELOW, before(alert, key.period, group, value), value))
    tell(tracker, live, findings, occasion)
    met = Occasion(TriggeredBy.CREATION, occasion.timestamp_us)
    for finding in sorted(first, key=_order):
        tracker.find(finding, met, first=True)
    return looked_at


def hold(
    tracker: Tracker,
    watch: Watch,
    now: Figures,
    former: Callable[[], Figures] | None,
    occasion: Occasion,
    new: frozenset[str] = frozenset(),
    *,
    whole: bool = True,
) -> None:
    """Holds the states of alerts that are read from a statement against their figures. ``whole``: these are all there are.

    ``former``: makes the figures before the change, if they are wanted (None: not known). ``new``: as for ``reconcile``. A state
    whose figure is gone is resolved."""
    stored = tracker.stored_keys() if whole else ()
    left = sorted(key for key in stored if watch.alerts[key.alert_id].type not in GAUGED and key not in now)
    moved = _follow_invoices(tracker, watch, now, left) if left else {}
    changed: list[tuple[Alert, StateKey, Input, Decimal, Mapping[str, object]]] = []
    for key, figure in now.items():
        state = tracker.at(key)
        if figure.past and state is State.OK:
            cause = _first_cause(figure.alert, over=False) if key.alert_id in new else Input.ABOVE
        elif not figure.past and state in ALARMED:
            cause = Input.BELOW
        else:
            continue
        changed.append((figure.alert, key, cause, figure.value, figure.measure))
    for key in left:
        if key not in moved:
            alert = watch.alerts[key.alert_id]
            changed.append((alert, key, Input.FINAL, ZERO, gone(alert, sub_key_values(key.sub_key))))
    if not changed:
        return
    figures = {} if former is None else former()
    before = {moved.get(key, key): figure.value for key, figure in figures.items()}
    findings = [
        Finding(alert, key.period, sub_key_values(key.sub_key), cause, before.get(key, value), value, measure)
        for alert, key, cause, value, measure in changed
    ]
    for finding in sorted(findings, key=_order):
        first = finding.alert.id in new and finding.cause is not Input.FINAL
        appeared = StateKey(finding.alert.id, finding.period, sub_key_text(finding.group)) not in before
        tracker.find(finding, _standing_occasion(finding, occasion, first=first, appeared=appeared), first=first)


def _follow_invoices(tracker: Tracker, watch: Watch, now: Figures, left: Iterable[StateKey]) -> dict[StateKey, StateKey]:
    """A draft invoice whose period has got another end (its contract has) keeps its states: old key -> new key.
    ``left``: states that have no figure."""
    moved: dict[StateKey, StateKey] = {}
    for key in left:
        if watch.alerts[key.alert_id].type is AlertType.INVOICE_TOTAL:
            for new in now:
                if (new.alert_id, new.sub_key) == (key.alert_id, key.sub_key):
                    tracker.move_one(key, new)
                    moved[key] = new
    return moved


def _standing_occasion(finding: Finding, occasion: Occasion, *, first: bool, appeared: bool) -> Occasion:
    """Why a figure changed: to balances, any change of configuration is one of theirs. ``appeared``: there was none before."""
    invoice = finding.alert.type in INVOICES
    if first:
        return occasion._replace(triggered_by=TriggeredBy.CREATION)
    if occasion.triggered_by is TriggeredBy.CONTRACT_CHANGE and not invoice:
        return occasion._replace(triggered_by=TriggeredBy.BALANCE_CHANGE)
    if occasion.triggered_by is TriggeredBy.TIME and invoice and finding.cause is Input.FINAL:
        return occasion._replace(triggered_by=TriggeredBy.PERIOD_RESET)
    if occasion.triggered_by is TriggeredBy.TIME and invoice and appeared:
        return occasion._replace(triggered_by=TriggeredBy.INVOICE_GENERATION)
    return occasion


def _order(finding: Finding) -> tuple[Decimal, str, Period, bool, tuple[str, ...]]:
    """A keyed alert as a whole, which has no group, comes after its values."""
    return (finding.alert.threshold, finding.alert.id, finding.period, not finding.group, finding.group)


def _first_cause(alert: Alert, *, over: bool) -> Input:
    """What it means that an alert which the customer meets for the first time is past its line."""
    if over:
        return Input.ABOVE_TOO_LATE
    return Input.ABOVE if alert.evaluate_on_create else Input.ABOVE_QUIETLY


def _before(was: LiveGauges | None, alert: Alert, period: Period, group: tuple[str, ...], value: Decimal) -> Decimal:
    """The value before a change; the value itself where nothing was measured before."""
    before = None if was is None else was.value(alert, period, group)
    return value if before is None else before
