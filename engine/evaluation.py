"""From gauges and figures to findings: what a change of value, of configuration or of time means for the states of alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from engine.alerts.kinds import GAUGED, INVOICES
from engine.alerts.ladder import Gauge
from engine.alerts.states import Input, State
from engine.alerts.stored import StateKey, sub_key_text, sub_key_values
from engine.alerts.tracker import ALARMED, Finding, Occasion, Tracker
from engine.alerts.watch import Watch, alert_group, group_names
from engine.catalog import Alert, AlertType
from engine.effects import TriggeredBy
from engine.live import LiveGauges
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period
from engine.standing import Figures, gone

_OVERTAKEN = {Input.PERIOD_END: Input.PERIOD_END_OVERTAKEN, Input.FINAL: Input.FINAL_OVERTAKEN}


def tell(tracker: Tracker, findings: Iterable[Finding], occasion: Occasion) -> None:
    """Takes findings of one occasion to the tracker: lowest threshold first, then by alert, older periods first."""
    for finding in sorted(findings, key=_order):
        tracker.find(finding, occasion)


def crossings(due: Sequence[Gauge]) -> list[Finding]:
    """Which rungs the gauges that left their headroom have crossed; gives each its new headroom."""
    findings: list[Finding] = []
    for gauge in due:
        former = gauge.settle()
        low, high = sorted((former, gauge.rung))
        cause = Input.ABOVE if gauge.rung > former else Input.BELOW
        for alert in gauge.ladder.alerts[low:high]:
            group = alert_group(alert, group_names(alert), gauge.group)
            findings.append(Finding(alert, gauge.period, group, cause, gauge.before, gauge.value))
    return findings


def end_states(
    tracker: Tracker, keys: Iterable[StateKey], cause: Input, watch: Watch, was: LiveGauges | None, live: LiveGauges, now_us: int
) -> None:
    """Ends a period's states: PERIOD_END or FINAL. The value told is that of the current period, at this moment."""
    findings: list[Finding] = []
    for key in keys:
        alert, group = watch.alerts[key.alert_id], sub_key_values(key.sub_key)
        overtaken = tracker.state(alert.id, live.current.span, group) in ALARMED
        value = live.value(alert, live.current.span, group) or ZERO
        found = _OVERTAKEN[cause] if overtaken else cause
        findings.append(Finding(alert, key.period, group, found, _before(was, alert, key.period, group, value), value))
    tell(tracker, findings, Occasion(TriggeredBy.PERIOD_RESET, now_us))


def reconcile(
    tracker: Tracker,
    watch: Watch,
    live: LiveGauges,
    occasion: Occasion,
    *,
    was: LiveGauges | None = None,
    new: frozenset[str] = frozenset(),
    moved_from: Period | None = None,
) -> int:
    """Holds every state against its gauge; returns how many gauges there were.

    ``was``: the gauges before the change, for the value before it; ``moved_from``: the current period was this one then. ``new``:
    alerts that the customer meets for the first time: those are told as "creation", or held silently, and do not look back at
    periods that are over.
    """
    findings, first, looked_at = [], [], 0
    was_in = {} if moved_from is None else {live.current.span: moved_from}
    hour = occasion.timestamp_us // HOUR_US
    for board, gauge in live.gauges():
        looked_at += 1
        for alert in gauge.ladder.alerts[: gauge.rung]:
            group = alert_group(alert, group_names(alert), gauge.group)
            if tracker.state(alert.id, gauge.period, group) is not State.OK:
                continue
            before = _before(was, alert, was_in.get(gauge.period, gauge.period), group, gauge.value)
            if alert.id in new:
                cause = _first_cause(alert, over=board.frame.ending_hour <= hour)
                first.append(Finding(alert, gauge.period, group, cause, before, gauge.value))
            else:
                findings.append(Finding(alert, gauge.period, group, Input.ABOVE, before, gauge.value))
    for key, state in tracker:
        alert, group = watch.alerts[key.alert_id], sub_key_values(key.sub_key)
        if alert.type not in GAUGED:
            continue
        value = live.value(alert, key.period, group) or ZERO
        if state in ALARMED and not live.is_past(alert, key.period, group) and key.period in live.boards:
            before = _before(was, alert, was_in.get(key.period, key.period), group, value)
            findings.append(Finding(alert, key.period, group, Input.BELOW, before, value))
    tell(tracker, findings, occasion)
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
