"""The aggregate root: one customer's usage, spend and alert states.

    usage events  ─► apply ───────┐
    configuration ─► reconfigure ─┼─► windows, alert states, notifications, timer ─► collect() -> Delta
    time          ─► advance ─────┘

What is kept: hourly windows (engine.metering.windows), states (engine.alerts.tracker), and a ``StateMeta``. Everything else, the
gauges of the live frames (engine.frames, engine.live), is computed from these when the customer is loaded, when its
configuration changes and when a frame begins or ends; in between, events move it exactly. So where a stream of events is cut into
batches, and where a customer is dropped from memory and loaded again, cannot be seen in what comes out.

An event is taken in three steps: read and check everything (a rejection changes nothing), add it to all windows and gauges,
then look at the gauges that left their headroom. All metrics of an event are in before any alert is looked at.

Exact arithmetic (engine.numbers.activate) must be current in the caller's thread or task.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from engine.alerts.kinds import GAUGED
from engine.alerts.ladder import Gauge
from engine.alerts.states import Input
from engine.alerts.stored import CARRY_PREFIX, META, decode_meta, encode_meta, scope_text, sub_key_values
from engine.alerts.tracker import Finding, Occasion, Tracker
from engine.alerts.watch import Scope, Watch
from engine.catalog import Alert, Catalog, CustomerConfig
from engine.compiled import CompiledCatalog, compile_catalog
from engine.counting import HOURS_A_DAY, Counting, Route
from engine.effects import Counted, Delta, Evidence, Notification, Rejection, StoredCustomer, TriggeredBy, UsageEvent
from engine.evaluation import Moved, crossings, end_states, hold, reconcile, tell, turn
from engine.finalization import FinalInvoices, next_end
from engine.folding import fold_due_us, fold_windows
from engine.former import FormerQuantities
from engine.frames import NEVER_HOUR
from engine.headroom import Headrooms
from engine.live import NEVER_US, LiveGauges, Usage
from engine.metering.bounded import GroupValueBound
from engine.metering.codec import Reading, decode_quantity
from engine.metering.matching import Misread, Value, read_only, read_values
from engine.metering.windows import WindowStore
from engine.numbers import ZERO
from engine.periods import HOUR_US, Period
from engine.settings import EngineSettings
from engine.standing import Figures, Standing, margins
from engine.together import add as add_sums
from engine.together import sum_up

__all__ = ["CustomerAggregate", "EngineSettings", "stored_days"]


def stored_days(state: Mapping[str, str]) -> tuple[int, ...]:
    """The UTC days (since the epoch) whose window maps must be loaded together with this state."""
    return tuple(sorted(decode_meta(state).days))


class CustomerAggregate:
    """One customer. Feed it, then ``collect`` what is to be written; after a failed write, drop it and load again.

    ``now_us`` is the caller's time, microseconds since the epoch; it never goes back: an earlier one counts as the latest seen.
    """

    def __init__(
        self, customer: CustomerConfig, catalog: Catalog, stored: StoredCustomer, settings: EngineSettings, now_us: int
    ) -> None:
        """Rebuilds the customer from what is stored. If that was evaluated under another configuration, it is brought up to
        date here, alerts that are new to the customer included; and time is moved on to ``now_us``."""
        self._settings = settings
        self._meta = decode_meta(stored.state)
        self._meta_changed = False
        self._tracker = Tracker(customer.id, settings.resolved_notifications, stored.state)
        self._usage = Usage(WindowStore(), _stored_carry(stored.state))
        self._final = FinalInvoices(stored.state)
        self._delta = Delta()
        self._serial = 0
        self._headrooms = Headrooms(())
        self._instant_us = NEVER_US
        self._take(customer, catalog)
        self._usage.windows.load(stored.windows, self._compiled.aggregations)
        self._now_us = self._meta.now_us or now_us
        if (self.customer_version, self.catalog_revision) == (customer.version, catalog.revision):
            self._rebuild()
            if self._meta.frozen_at_us is None:
                self._move()  # stored by a version that knew the periods of all contracts only
            self._reconcile(TriggeredBy.TIME)
            self.advance(now_us)
        else:
            self._bring_up_to_date(max(now_us, self._now_us), None)

    @property
    def customer_version(self) -> int:
        """The version of the customer's configuration under which it was last evaluated."""
        return self._meta.customer_version

    @property
    def catalog_revision(self) -> int:
        """The revision of the catalog under which it was last evaluated."""
        return self._meta.catalog_revision

    # --- what happens to a customer -------------------------------------------------------------------------------------

    def apply(self, event: UsageEvent, now_us: int) -> Rejection | None:
        """Counts one event and evaluates what it can change. A rejection means that nothing was changed, unless it names the
        metrics that could not read the event (``missed``): then it counted for the others."""
        if now_us >= self._wake_us:
            self.advance(now_us)
        elif now_us > self._now_us:
            self._now_us = now_us
        event_type, hour = event.event_type, event.hour
        route = self._counting.routes.get((event_type, hour))
        matchers = self._compiled.matchers_for(event_type) if route is None else route.matchers
        if event.only is None:
            values = read_values(matchers, event.properties)
        else:
            values = read_only(matchers, event.properties, event.only)
        misread: Rejection | None = None
        if values.__class__ is not list and values is not None:
            if isinstance(values, Rejection):
                return values
            assert isinstance(values, Misread)
            values, misread = values
        if route is None and hour // HOURS_A_DAY < self._meta.folded_before:
            return Rejection("timestamp_too_old", "the hours of its day were folded into a day (windows_hourly_days)")
        if values is None:
            return None
        if route is None:
            route = self._open_route(event_type, hour)
        self._count(event, route, values)
        return misread

    def _count(self, event: UsageEvent, route: Route, values: list[Value]) -> None:
        """Adds the event's values, and looks at what that has moved."""
        if route.final and self._meta.frozen_at_us is None:
            self._delta.after_finalization += 1
        self._serial += 1
        former = self._former(route, values, event) if self._headrooms.by_credit_type else None
        self._headrooms.hour = event.timestamp_us // HOUR_US
        if route.reads:
            self._meta.arrivals += 1
            self._meta_changed = True
        self._counting.add(route, values, event, self._serial, self._meta.arrivals)
        if self._live.due:
            self._settle_due(event)
        if self._headrooms.due:
            self._hold(self._used(event), self._standing.at(self._now_us, former))
        elif self._headrooms.due_seats:
            self._hold_seats(self._used(event), former)

    def apply_all(self, events: Sequence[Counted], whole: Callable[[int], UsageEvent], now_us: int) -> dict[int, Rejection]:
        """Counts the events in their order, as ``apply`` would one by one. Returns the rejections, by the event's place.

        Together where nothing can come of them (engine.together); else in halves, so that few are left around the one that
        something comes of. ``whole``: gives the event at a place with its evidence, for those that are counted by themselves."""
        if len(events) < 2 or not self._may_sum(events[0]):
            outcomes = enumerate([self.apply(whole(place), now_us) for place in range(len(events))])
            return {place: rejection for place, rejection in outcomes if rejection is not None}
        if now_us >= self._wake_us:
            self.advance(now_us)
        together = sum_up(self._counting.routes, events)
        if together is None:
            half = len(events) // 2
            rejections = self.apply_all(events[:half], whole, now_us)
            later = self.apply_all(events[half:], lambda place: whole(half + place), now_us)
            rejections.update((half + place, rejection) for place, rejection in later.items())
            return rejections
        self._now_us = max(self._now_us, now_us)
        if self._meta.frozen_at_us is None:
            self._delta.after_finalization += together.final
        self._serial += len(events)
        add_sums(together.sums, self._serial)
        assert not self._live.due
        assert not self._headrooms.due
        assert not self._headrooms.due_seats
        return together.rejections

    def reconfigure(self, customer: CustomerConfig, catalog: Catalog, now_us: int) -> None:
        """Takes a new configuration and evaluates everything under it."""
        self.advance(now_us)
        was, former = self._live, self._standing.at(self._now_us)
        self._take(customer, catalog)
        self._bring_up_to_date(self._now_us, was, former)

    def reset(self, alert_id: str, now_us: int) -> None:
        """Drops the alert's states and evaluates it at once: a breach that still holds is notified again.

        States that lapsed with their period stay so. Those of an archived customer, or of one whose
        last contract has ended and is final, stay as they are."""
        self.advance(now_us)
        alert = self._watch.alerts.get(alert_id)
        if alert is None or self._meta.frozen_at_us is not None or self._live.closed:
            return
        occasion = Occasion(TriggeredBy.RESET, self._now_us)
        for key, _ in self._tracker:
            if key.alert_id == alert_id:
                group = sub_key_values(key.sub_key)
                self._tracker.find(Finding(alert, key.period, group, Input.DROP, ZERO, ZERO), occasion)
        self._reconcile(TriggeredBy.RESET)

    def advance(self, now_us: int) -> None:
        """Lets time pass: period ends, ends of grace, segments of balances, folding of windows. Time never goes back."""
        while now_us >= min(self._boundary_us, self._instant_us):
            if self._instant_us < self._boundary_us:
                self._cross_instant()
            else:
                self._cross_boundary()
        self._now_us = max(self._now_us, now_us)
        if now_us >= self._fold_us:
            fold_windows(self._usage, self._meta, self._settings, now_us, self._kept_from_hour, self._delta)
            self._meta_changed = True
            self._counting.forget()
            self._schedule()

    def collect(self) -> Delta:
        """What has changed since the last ``collect``."""
        delta, self._delta = self._delta, Delta()
        windows = self._usage.windows
        delta.windows_set = windows.collect()
        delta.merged, windows.merged = windows.merged, {}
        self._tracker.collect(delta)
        delta.notifications = [self._named(each) for each in delta.notifications]
        if self._meta_changed:
            delta.state_set[META] = encode_meta(self._meta)
            self._meta_changed = False
        delta.timer_us = self._timer_us()
        return delta

    def _named(self, notification: Notification) -> Notification:
        """With the names by which people know the customer and what is measured."""
        metric = self._compiled.catalog.metrics.get(str(notification.measure.get("billable_metric_id")))
        name, aliases = self._customer.name, self._customer.aliases
        return replace(
            notification, customer_name=name, customer_aliases=aliases, metric_name=None if metric is None else metric.name
        )

    # --- events ---------------------------------------------------------------------------------------------------------

    def _former(self, route: Route, values: list[Value], event: UsageEvent) -> FormerQuantities:
        return FormerQuantities(route, values, event, self._usage.windows, self._counting)

    def _settle_due(self, event: UsageEvent) -> None:
        """Looks at the gauges that an event took out of their headroom."""
        due = self._live.due
        self._delta.evaluations += len(due)
        told = partial(self._period_told, event) if self._live.several else None
        tell(self._tracker, self._live, crossings(due, told), self._used(event))
        due.clear()

    def _period_told(self, event: UsageEvent, gauge: Gauge) -> Period | None:
        """Of the billing periods in which an event counts on a gauge; None: the gauge's own."""
        matchers = self._compiled.matchers_for(event.event_type)
        read = (
            read_values(matchers, event.properties) if event.only is None else read_only(matchers, event.properties, event.only)
        )
        values = read.values if isinstance(read, Misread) else read
        assert isinstance(values, list)  # it has been counted
        counted = [matcher for matcher, value in zip(matchers, values, strict=True) if value is not None]
        groups = {matcher.metric.id: self._counting.groups(matcher, event.properties) for matcher in counted}
        return self._live.period_counted(gauge, groups, event.hour)

    def _used(self, event: UsageEvent) -> Occasion:
        evidence = Evidence(
            transaction_id=event.transaction_id,
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
            event_timestamp_us=event.timestamp_us,
            appended_at_ms=event.appended_at_ms,
            evaluated_at_us=self._now_us,
        )
        return Occasion(TriggeredBy.USAGE, self._now_us, evidence)

    def _may_sum(self, event: Counted) -> bool:
        if self._headrooms.exact:
            return False  # each event wants a statement of its own
        route = self._counting.routes.get((event.event_type, event.timestamp_us // HOUR_US))
        return route is None or route.sums

    def _open_route(self, event_type: str, hour: int) -> Route:
        """Where events of a type go in an hour. Its day begins here, and so does a frame ahead that it falls in."""
        if not self._live.knows(hour):
            self._rebuild(hour_ahead=hour)
            self._reconcile(TriggeredBy.TIME)
        if hour // HOURS_A_DAY not in self._usage.windows.days:
            self._add_day(hour // HOURS_A_DAY)
        return self._counting.open_route(event_type, hour)

    def _add_day(self, day: int) -> None:
        self._usage.windows.days.add(day)
        self._meta.days.add(day)
        self._meta_changed = True
        self._schedule()

    def measured(self, alert_id: str) -> dict[tuple[Period, tuple[str, ...]], Decimal]:
        """What an alert measures now: by live period and group (values in the order of the alert's own keys)."""
        alert = self._watch.alerts[alert_id]
        if alert.type in GAUGED:
            return self._live.values(alert)
        figures = self._standing.at(self._now_us)()
        return {(key.period, figure.group): figure.value for key, figure in figures.items() if key.alert_id == alert_id}

    # --- configuration --------------------------------------------------------------------------------------------------

    def _take(self, customer: CustomerConfig, catalog: Catalog) -> None:
        self._customer = customer
        self._compiled: CompiledCatalog = compile_catalog(catalog)
        self._watch = Watch((*catalog.alerts, *customer.alerts)) if customer.alerts else self._compiled.watch
        self._watching(self._watch)

    def _watching(self, watch: Watch) -> None:
        self._watch = watch
        self._standing = Standing(
            self._customer, self._compiled, watch.standing, self._usage, self._final, self._settings.grace_hours
        )

    def _bring_up_to_date(self, now_us: int, was: LiveGauges | None, former: Callable[[], Figures] | None = None) -> None:
        """Evaluates under a configuration that is new to what is stored.

        Time that has passed unseen is first lived through with the alerts that were there, so that an alert which is
        new is met now, and not in a period that was over before it existed."""
        meta, watch = self._meta, self._watch
        if not self._customer.archived:
            meta.frozen_at_us = None
        new = frozenset(alert.id for alert in watch.alerts.values() if alert.created_version > self._version_seen(alert))
        if (self._tracker or watch.standing) and meta.frozen_at_us is None and self._passed_unseen(now_us):
            self._watching(Watch(alert for alert in watch.alerts.values() if alert.id not in new))
            self._evaluate_change(was, former, frozenset())
            self.advance(now_us)
            was, former = self._live, self._standing.at(now_us)
            self._watching(watch)
        self._now_us = now_us
        self._evaluate_change(was, former, new)
        self._tracker.forget_sequences(watch.alerts)
        meta.customer_version, meta.catalog_revision = self._customer.version, self._compiled.catalog.revision
        if self._customer.archived and meta.frozen_at_us is None:
            meta.frozen_at_us = now_us
            self._rebuild()
        meta.now_us = now_us
        self._meta_changed = True
        self.advance(now_us)

    def _passed_unseen(self, now_us: int) -> bool:
        """Whether something has happened by time alone since the last look."""
        instant_us = self._standing.next_instant_us(self._now_us)
        return self._gauges(_NOTHING).boundary_us <= now_us or instant_us <= now_us

    def _version_seen(self, alert: Alert) -> int:
        return self.catalog_revision if alert.customer_id is None else self.customer_version

    def _evaluate_change(self, was: LiveGauges | None, former: Callable[[], Figures] | None, new: frozenset[str]) -> None:
        for key, _ in self._tracker:
            if key.alert_id not in self._watch.alerts:
                self._tracker.forget(key)
        self._rebuild()
        if self._meta.frozen_at_us is not None:
            return
        moved = self._move(new)
        self._finish_periods(was)
        ended_before = {scope for scope in moved if self._live.calendars[scope].closed}  # further back than the grace period
        if ended_before:
            self._rebuild(last_look=ended_before)
        self._reconcile(TriggeredBy.CONTRACT_CHANGE, was, former, new, moved)
        if ended_before:
            self._rebuild()

    def _move(self, new: frozenset[str] = frozenset()) -> Moved:
        """Where current periods have got another span, states go with them. ``new``: alerts that have no states yet."""
        moved: dict[Scope, Period] = {}
        for scope, calendar in self._live.calendars.items():
            alerts = self._watch.gauged(scope)
            old, span = self._meta.spans.get(scope_text(scope), self._meta.span), calendar.current.span
            if old is not None and old != span and (not scope or not alerts <= new):
                self._tracker.move(old, span, alerts, old if old in calendar.frames else None)
                moved[scope] = old
        self._note_spans()
        return moved

    def _note_spans(self) -> None:
        spans = {scope_text(scope): calendar.current.span for scope, calendar in self._live.calendars.items()}
        whole = spans.pop("")
        noted = whole, {scope: span for scope, span in spans.items() if span != whole}
        if noted != (self._meta.span, self._meta.spans):
            self._meta.span, self._meta.spans = noted
            self._meta_changed = True

    # --- time -----------------------------------------------------------------------------------------------------------

    def _cross_boundary(self) -> None:
        """A frame ends, or a grace period does, at ``_boundary_us``."""
        self._now_us = self._meta.now_us = self._boundary_us
        self._meta_changed = True
        was, former = self._live, self._standing.at(self._now_us - 1)
        self._rebuild()
        self._note_spans()
        moved = turn(self._tracker, self._watch, was, self._live, self._now_us)
        self._finish_periods(was)
        self._reconcile(TriggeredBy.TIME, was, former, moved=moved)

    def _cross_instant(self) -> None:
        """A segment of a balance begins or ends, or has few days left, at ``_instant_us``."""
        self._now_us = self._meta.now_us = self._instant_us
        self._meta_changed = True
        self._hold(Occasion(TriggeredBy.TIME, self._now_us), self._standing.at(self._now_us - 1))
        self._instant_us = self._standing.next_instant_us(self._now_us)
        self._schedule()

    def _finish_periods(self, was: LiveGauges | None) -> None:
        """Forgets the states of periods that are final, and resolves what is still in alarm there."""
        live, final = self._live, []
        for key, _ in self._tracker:
            alert = self._watch.alerts[key.alert_id]
            if alert.type in GAUGED and not live.is_live(alert, key.period):
                calendar = live.calendar(alert)
                lasts = calendar.closed and key.period == calendar.current.span
                final += [] if lasts else [key]
        end_states(self._tracker, final, Input.FINAL, self._watch, was, live, self._now_us)

    def _reconcile(
        self,
        triggered_by: TriggeredBy,
        was: LiveGauges | None = None,
        former: Callable[[], Figures] | None = None,
        new: frozenset[str] = frozenset(),
        moved: Moved | None = None,
    ) -> None:
        occasion = Occasion(triggered_by, self._now_us)
        if self._meta.frozen_at_us is None:
            self._delta.evaluations += reconcile(self._tracker, self._watch, self._live, occasion, was=was, new=new, moved=moved)
            self._hold(occasion, former, new)

    def _hold(self, occasion: Occasion, former: Callable[[], Figures] | None, new: frozenset[str] = frozenset()) -> None:
        """Reads a statement and holds the alerts on balances, segments and invoices against it; gives them new headroom."""
        if not self._watch.standing or self._live.closed:
            return
        figures = self._standing.at(self._now_us)()
        self._delta.evaluations += len(figures)
        hold(self._tracker, self._watch, figures, former, occasion, new)
        self._headrooms.settle(margins(figures))

    def _hold_seats(self, occasion: Occasion, former: FormerQuantities | None) -> None:
        """The same for the seats whose own headroom is used up."""
        for seat in sorted(self._headrooms.due_seats):
            figures = self._standing.at(self._now_us, seat=seat)()
            self._delta.evaluations += len(figures)
            before = self._standing.at(self._now_us, former, seat)
            hold(self._tracker, self._watch, figures, before, occasion, whole=False)
            self._headrooms.settle_seat(seat, margins(figures))

    def _rebuild(self, hour_ahead: int | None = None, *, last_look: Container[Scope] = ()) -> None:
        """Computes the live frames and their gauges from the windows; an archived customer has none that matter."""
        frozen = self._meta.frozen_at_us is not None
        if not frozen:
            self._finalize()
        standing = self._standing
        self._headrooms = Headrooms(() if frozen else standing.drawn, standing.seat_keys, exact=standing.exact_at(self._now_us))
        self._live = self._gauges(_NOTHING if frozen else self._watch, hour_ahead, last_look=last_look)
        self._counting = Counting(self._compiled, self._usage.windows, self._live, self._bound())
        stays = frozen or self._live.closed
        self._instant_us = NEVER_US if stays else self._standing.next_instant_us(self._now_us)
        self._boundary_us = NEVER_US if frozen else min(self._live.boundary_us, self._final_us())
        self._kept_from_hour = NEVER_US if frozen else self._live.kept_from_hour
        self._schedule()

    def _bound(self) -> GroupValueBound:
        windows = self._usage.windows
        named_by = (self._compiled.catalog, self._customer, self._watch.alerts.values())
        return GroupValueBound(self._settings.group_values_max, windows.series, windows.apart, *named_by)

    def _gauges(self, watch: Watch, hour_ahead: int | None = None, *, last_look: Container[Scope] = ()) -> LiveGauges:
        return LiveGauges(
            self._customer.contracts,
            watch,
            self._compiled,
            self._usage,
            now_us=self._now_us,
            grace_hours=self._settings.grace_hours,
            headrooms=self._headrooms,
            hour_ahead=hour_ahead,
            last_look=last_look,
        )

    def _finalize(self) -> None:
        """Makes and keeps the invoices whose grace period has ended."""
        reach = self._now_us // HOUR_US - self._settings.grace_hours
        if self._meta.final_hour is None:
            self._meta.final_hour = reach
            self._meta_changed = True
        elif next_end(self._customer.contracts, self._meta.final_hour) <= reach or self._standing.makes_again():
            self._delta.state_set.update(self._standing.finalize(self._now_us, self._meta.final_hour))
            self._meta.final_hour = reach
            self._meta_changed = True

    def _schedule(self) -> None:
        self._fold_us = fold_due_us(self._usage.windows.days, self._settings, self._kept_from_hour, self._boundary_us)
        self._wake_us = min(self._boundary_us, self._fold_us, self._instant_us)

    def _timer_us(self) -> int | None:
        """When something happens without usage. A boundary matters if there is a state to end, or if a value can be past
        a threshold without any new usage: at 0, with several contracts, or by what is drawn from balances."""
        lowest, contracts = self._watch.lowest, self._customer.contracts
        gauged = lowest is not None and (bool(self._tracker) or lowest <= 0 or len(contracts) > 1)
        boundary_us = self._boundary_us if gauged or self._standing.drawn else NEVER_US
        billed = self._usage.windows.days or any(contract.subscriptions for contract in contracts)
        final_us = self._final_us() if billed else NEVER_US  # with nothing to bill there is no hurry
        due = min(boundary_us, self._fold_us, self._instant_us, final_us)
        return None if due == NEVER_US else due

    def _final_us(self) -> int:
        """When the next invoice becomes final."""
        if self._meta.frozen_at_us is not None or self._meta.final_hour is None:
            return NEVER_US
        hour = next_end(self._customer.contracts, self._meta.final_hour)
        return NEVER_US if hour >= NEVER_HOUR else (hour + self._settings.grace_hours) * HOUR_US


_NOTHING = Watch(())


def _stored_carry(state: Mapping[str, str]) -> dict[str, Reading]:
    carry: dict[str, Reading] = {}
    for name, text in state.items():
        if name.startswith(CARRY_PREFIX):
            reading = decode_quantity(text)
            assert isinstance(reading, Reading)
            carry[name.removeprefix(CARRY_PREFIX)] = reading
    return carry
