"""What alerts over several contracts must say, recomputed from the raw events at each step; shares no code with the engine.

An alert measures the sum, over the contracts that it is about, of each one's own current billing period. Hour by hour, as nobody
would do it: who runs, in which of its periods, and what does that come to? A sum lives on as long as any of its parts does. A sum
of which a part ended stays to be looked at while the grace period runs: *closed*, without what is dated after its end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from engine.catalog import Alert, Catalog, Contract, Frequency
from engine.effects import UsageEvent
from tests.support.recomputed import HOUR_US, Told, aggregate, counts, spend, watched

Group = tuple[str, ...]


class Part(NamedTuple):
    """One contract's billing period in hours; without a contract: a calendar month."""

    contract_id: str | None
    start: int
    end: int


class Sum(NamedTuple):
    """``life``: counts up where no part goes on. ``cut``: nothing dated later counts."""

    place: tuple[str, int]  # ("now", 0), ("closed", end) or ("ahead", start)
    life: int
    parts: tuple[Part, ...]
    cut: int

    @property
    def span(self) -> tuple[int, int]:
        return min(part.start for part in self.parts), min(max(part.end for part in self.parts), self.cut)


NEVER = 10**9


def at(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)


@cache
def cycles(frequency: Frequency, anchor_hour: int) -> list[int]:
    """The boundaries of a schedule for years around its anchor."""
    if frequency in (Frequency.DAILY, Frequency.WEEKLY):
        days = 1 if frequency is Frequency.DAILY else 7
        return [anchor_hour + 24 * days * count for count in range(-800, 800)]
    months = {Frequency.MONTHLY: 1, Frequency.QUARTERLY: 3, Frequency.ANNUAL: 12}[frequency]
    found, anchor = [], at(anchor_hour)
    for count in range(-60, 61):
        month = anchor.year * 12 + anchor.month - 1 + count * months
        first = datetime(month // 12, month % 12 + 1, 1, anchor.hour, tzinfo=UTC)
        last_day = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        found.append(int(first.replace(day=min(anchor.day, last_day.day)).timestamp()) // 3600)
    return found


def part_at(contract: Contract, hour: int) -> Part | None:
    over = NEVER if contract.ending_hour is None else contract.ending_hour
    if not contract.starting_hour <= hour < over:
        return None
    boundaries = cycles(contract.schedule.frequency, contract.schedule.anchor_us // HOUR_US)
    following = bisect_right(boundaries, hour)
    return Part(contract.id, max(boundaries[following - 1], contract.starting_hour), min(boundaries[following], over))


def month_at(hour: int, contracts: Iterable[Contract]) -> Part:
    first = at(hour).replace(day=1, hour=0)
    following = (first + timedelta(days=32)).replace(day=1)
    begins = min((each.starting_hour for each in contracts if each.starting_hour > hour), default=NEVER)
    return Part(None, int(first.timestamp()) // 3600, min(int(following.timestamp()) // 3600, begins))


def parts_at(contracts: tuple[Contract, ...], hour: int) -> tuple[Part, ...]:
    """Who runs; after the end of all, who ran last; before the first: the month."""
    running = tuple(part for part in (part_at(contract, hour) for contract in contracts) if part is not None)
    if running:
        return running
    ended = max(
        (each.ending_hour for each in contracts if each.ending_hour is not None and each.ending_hour <= hour), default=None
    )
    return (month_at(hour, contracts),) if ended is None else parts_at(contracts, ended - 1)


class ContractsOracle:
    """One customer whose contracts do not change. ``told``: by alert and group, what must have been sent."""

    def __init__(self, catalog: Catalog, contracts: tuple[Contract, ...], grace_hours: int, now_us: int) -> None:
        self.contracts = contracts
        self.grace = grace_hours
        self.catalog = replace(catalog, alerts=())
        self.now_us = self._first_us = now_us - (grace_hours + 1) * HOUR_US  # there were billing periods, without usage
        self.events: list[UsageEvent] = []
        self.states: dict[tuple[str, tuple[str, int], Group], str] = {}
        self.told: dict[tuple[str, Group], list[Told]] = {}
        self._sums: dict[tuple[Contract, ...], list[Sum]] = {}
        for alert in catalog.alerts:
            self._follow(self.scope(alert))
        self.pass_time(now_us)
        for alert in catalog.alerts:
            self.introduce(alert)

    def _follow(self, scope: tuple[Contract, ...]) -> None:
        """Knows a scope's past from here on, as if it had been looked at all the time."""
        first_hour = self._first_us // HOUR_US
        self._sums[scope] = [Sum(("now", 0), 0, parts_at(scope, first_hour), NEVER)]
        for hour in range(first_hour + 1, self.now_us // HOUR_US + 1):
            self._hour(scope, hour)

    def scope(self, alert: Alert) -> tuple[Contract, ...]:
        if alert.metric_id is not None:
            return self.contracts
        wanted = {(each.key, each.value) for each in alert.custom_field_filters}
        return tuple(each for each in self.contracts if wanted <= set(each.custom_fields)) or self.contracts

    # --- what happens ---------------------------------------------------------------------------------------------------

    def introduce(self, alert: Alert) -> None:
        """An alert that is new: of what is over it says nothing."""
        if self.scope(alert) not in self._sums:
            self._follow(self.scope(alert))
        self.catalog = replace(self.catalog, alerts=(*self.catalog.alerts, alert))
        for each in self._measured_sums(alert):
            for group in self._past(alert, each):
                quiet = "lapsed" if each.place[0] == "closed" else None if alert.evaluate_on_create else "held"
                self._rise(alert, each, group, "creation", quiet=quiet)

    def reset(self, alert: Alert) -> None:
        if self._closed(alert):
            return
        for key, state in list(self.states.items()):
            if key[0] == alert.id and state in ("alarm", "held"):
                del self.states[key]
        self._look(alert, "reset")

    def step(self, event: UsageEvent, now_us: int) -> None:
        self.pass_time(now_us)
        if not any(counts(metric, event) for metric in self.catalog.metrics.values()):
            return
        before = {alert.id: self._all_values(alert) for alert in self.catalog.alerts}
        self.events.append(event)
        for alert in self.catalog.alerts:
            self._look(alert, "usage", event, before[alert.id])

    def pass_time(self, now_us: int) -> None:
        for hour in range(self.now_us // HOUR_US + 1, now_us // HOUR_US + 1):
            self.now_us = hour * HOUR_US
            for scope in self._sums:
                self._hour(scope, hour)
        self.now_us = max(self.now_us, now_us)

    def _hour(self, scope: tuple[Contract, ...], hour: int) -> None:
        old, *closed = self._sums[scope]
        parts = parts_at(scope, hour)
        left = [each for each in closed if each.cut + self.grace > hour]
        if parts == old.parts and left == closed:
            return
        alerts = [alert for alert in self.catalog.alerts if self.scope(alert) == scope]
        self.now_us -= 1
        before = {alert.id: self._all_values(alert) for alert in alerts}
        self.now_us += 1
        now, final = old, [each for each in closed if each not in left]
        if set(parts) != set(old.parts):
            goes_on = not set(parts).isdisjoint(old.parts)
            now = Sum(("now", 0), old.life if goes_on else old.life + 1, parts, NEVER)
            ended = min(hour, max(part.end for part in old.parts))
            if not set(old.parts) <= set(parts):
                over = old._replace(place=("closed", ended), cut=ended)
                (left if ended + self.grace > hour else final).insert(0, over)
            self._sums[scope] = [now, *left]
            for alert in alerts:
                (self._goes_on if goes_on else self._ends)(alert, old, now, ended, hour, before[alert.id])
        self._sums[scope] = [now, *left]
        for alert in alerts:
            for each in final:
                self._final(alert, each, now, before[alert.id])
            moved = {**before[alert.id]}
            if now.life != old.life:
                moved[now.place] = moved.pop(("ahead", hour), {})
            self._look(alert, "time", None, moved)

    def _goes_on(
        self, alert: Alert, old: Sum, now: Sum, ended: int, hour: int, before: Mapping[tuple[str, int], Mapping[Group, Fraction]]
    ) -> None:
        values, past = self.values(alert, now), self._past(alert, now)
        for group in self._groups(alert, now.place):
            self.states[alert.id, ("closed", ended), group] = "lapsed"
            if group not in past and self.states.pop((alert.id, now.place, group)) == "alarm":
                self._tell(
                    "resolved", alert, now.span, group, before[now.place][group], values.get(group, Fraction(0)), "period_reset"
                )
        for group in self._past(alert, old._replace(cut=ended)):  # what was dated ahead had kept it below the line
            self.states.setdefault((alert.id, ("closed", ended), group), "lapsed")

    def _ends(
        self, alert: Alert, old: Sum, now: Sum, ended: int, hour: int, before: Mapping[tuple[str, int], Mapping[Group, Fraction]]
    ) -> None:
        values, past = self.values(alert, now), self._past(alert, now)
        for group in self._groups(alert, old.place):
            state = self.states.pop((alert.id, old.place, group))
            self.states[alert.id, ("closed", ended), group] = "held" if state == "held" else "lapsed"
            if state == "alarm" and group not in past:
                value = values.get(group, Fraction(0))
                previous = before.get(old.place, {}).get(group, value)
                self._tell("resolved", alert, old.span, group, previous, value, "period_reset")
        for group in self._groups(alert, ("ahead", hour)):
            self.states[alert.id, now.place, group] = self.states.pop((alert.id, ("ahead", hour), group))

    def _final(self, alert: Alert, each: Sum, now: Sum, before: Mapping[tuple[str, int], Mapping[Group, Fraction]]) -> None:
        values, past = self.values(alert, now), self._past(alert, now)
        for group in self._groups(alert, each.place):
            value = values.get(group, Fraction(0))
            if self.states.pop((alert.id, each.place, group)) == "alarm" and group not in past:
                previous = before.get(each.place, {}).get(group, value)
                self._tell("resolved", alert, each.span, group, previous, value, "period_reset")

    # --- what it comes to -----------------------------------------------------------------------------------------------

    def _closed(self, alert: Alert) -> bool:
        """Whether all has ended, and its grace period, too."""
        now = self._sums[self.scope(alert)][0]
        return now.span[1] + self.grace <= self.now_us // HOUR_US

    def _measured_sums(self, alert: Alert) -> list[Sum]:
        """What is measured, in the order in which it is told: older lives first, and of each life the newest sum first."""
        scope = self.scope(alert)
        found = [] if self._closed(alert) else [*self._sums[scope], *self._ahead(scope)]
        return sorted(found, key=lambda each: each.life)

    def _ahead(self, scope: tuple[Contract, ...]) -> list[Sum]:
        """The lives that begin before the last usage there is, if they have any."""
        found: list[Sum] = []
        hours = {event.hour for event in self.events if any(counts(metric, event) for metric in self.catalog.metrics.values())}
        life = self._sums[scope][0].life
        for hour in range(self.now_us // HOUR_US + 1, max(hours, default=0) + 1):
            was, parts = set(parts_at(scope, hour - 1)), parts_at(scope, hour)
            if was & set(parts):
                continue
            life += 1
            begun = Sum(("ahead", hour), life, parts, NEVER)
            if any(begun.span[0] <= each < begun.span[1] for each in hours):
                found.append(begun)
        return found

    def values(self, alert: Alert, each: Sum) -> dict[Group, Fraction]:
        if alert.metric_id is not None:
            metric = self.catalog.metrics[alert.metric_id]
            return {(): aggregate(metric, self._usage(alert, each))}
        totals = {group: Fraction(0) for group in self._named(alert)}
        for part in each.parts:
            for group, value in self._spend(alert, each, part, self.events).items():
                totals[group] = totals.get(group, Fraction(0)) + value
        return totals

    def measured(self, alert: Alert) -> dict[tuple[tuple[int, int], Group], Fraction]:
        return {
            (each.span, group): value for each in self._measured_sums(alert) for group, value in self.values(alert, each).items()
        }

    def in_alarm(self, alert: Alert) -> bool:
        return any(self.states[alert.id, ("now", 0), group] in ("alarm", "held") for group in self._groups(alert, ("now", 0)))

    def _all_values(self, alert: Alert) -> dict[tuple[str, int], dict[Group, Fraction]]:
        return {each.place: self.values(alert, each) for each in self._measured_sums(alert)}

    def _usage(self, alert: Alert, each: Sum) -> list[UsageEvent]:
        metric = self.catalog.metrics[alert.metric_id or ""]
        return [event for event in self.events if each.span[0] <= event.hour < each.span[1] and counts(metric, event)]

    def _spend(
        self, alert: Alert, each: Sum, part: Part, events: list[UsageEvent], with_usage: bool = False
    ) -> dict[Group, Fraction]:
        contract = next((each for each in self._billed(alert) if each.id == part.contract_id), None)
        if contract is None or contract.rate_card_id is None:
            return {}
        card = {"card": self.catalog.rate_cards[contract.rate_card_id]}
        inside = [event for event in events if event.hour < each.cut]
        return spend(replace(self.catalog, rate_cards=card), alert, (part.start, part.end), inside, with_usage)

    def _billed(self, alert: Alert) -> list[Contract]:
        wanted = {(each.key, each.value) for each in alert.custom_field_filters}
        return [contract for contract in self.contracts if wanted <= set(contract.custom_fields)]

    def _named(self, alert: Alert) -> list[Group]:
        """The groups that are known without usage: those that an alert on the same keys names in full."""
        found: list[Group] = [] if alert.group_values else [()]
        for other in self.catalog.alerts:
            wanted = dict(other.group_values)
            alike = (other.metric_id, other.credit_type_id, other.custom_field_filters) == (
                None,
                alert.credit_type_id,
                alert.custom_field_filters,
            )
            if wanted and alike and wanted.keys() == dict(alert.group_values).keys() and None not in wanted.values():
                group = tuple(str(wanted[name]) for name, _ in alert.group_values)
                found += [group] if watched(alert, group) else []
        return found

    def _past(self, alert: Alert, each: Sum) -> set[Group]:
        """The groups that are at the line or past it; where nothing was measured, not even at a line of 0."""
        used: set[Group] = {()} if alert.metric_id is not None and self._usage(alert, each) else set()
        for part in each.parts if alert.metric_id is None else ():
            used |= self._spend(alert, each, part, self.events, with_usage=True).keys()
        return {
            group for group, value in self.values(alert, each).items() if group in used and value >= Fraction(alert.threshold)
        }

    # --- what is said ---------------------------------------------------------------------------------------------------

    def _groups(self, alert: Alert, place: tuple[str, int]) -> list[Group]:
        return [group for alert_id, where, group in self.states if (alert_id, where) == (alert.id, place)]

    def _look(
        self,
        alert: Alert,
        why: str,
        event: UsageEvent | None = None,
        before: Mapping[tuple[str, int], Mapping[Group, Fraction]] | None = None,
    ) -> None:
        sums = self._measured_sums(alert)
        for each in sums:
            past, values = self._past(alert, each), self.values(alert, each)
            beside = any(other.life == each.life for other in sums[: sums.index(each)])  # a newer one of its life
            for group in sorted(past | set(self._groups(alert, each.place))):
                state = self.states.get((alert.id, each.place, group), "ok")
                value = values.get(group, Fraction(0))
                previous = (before or {}).get(each.place, {}).get(group, Fraction(0) if event else value)
                alarmed = self._alarmed(alert, each, group, sums)
                if group in past and state == "ok":
                    late = beside and (why not in ("usage", "reset") or bool(alarmed))
                    self._rise(alert, each, group, why, event, previous, "lapsed" if late else None)
                elif group not in past and state in ("alarm", "held"):
                    del self.states[alert.id, each.place, group]
                    head = next(other for other in sums if other.life == each.life)
                    if state == "alarm" and not (beside and head in alarmed):
                        self._tell("resolved", alert, self._span(alert, each, group, event), group, previous, value, why, event)

    def _alarmed(self, alert: Alert, each: Sum, group: Group, sums: list[Sum]) -> list[Sum]:
        """The other sums of its life that are in alarm."""
        alike = [other for other in sums if other.life == each.life and other != each]
        return [other for other in alike if self.states.get((alert.id, other.place, group)) in ("alarm", "held")]

    def _rise(
        self,
        alert: Alert,
        each: Sum,
        group: Group,
        why: str,
        event: UsageEvent | None = None,
        previous: Fraction | None = None,
        quiet: str | None = None,
    ) -> None:
        self.states[alert.id, each.place, group] = quiet or "alarm"
        if quiet is None:
            value = self.values(alert, each)[group]
            span = self._span(alert, each, group, event)
            self._tell("reached", alert, span, group, value if previous is None else previous, value, why, event)

    def _span(self, alert: Alert, each: Sum, group: Group, event: UsageEvent | None) -> tuple[int, int]:
        """Of the periods in which the event counts; without one, of all that was added up."""
        if event is None or alert.metric_id is not None:
            return each.span
        moved = [part for part in each.parts if group in self._spend(alert, each, part, [event], with_usage=True)]
        return each._replace(parts=tuple(moved)).span if moved else each.span

    def _tell(
        self,
        kind: str,
        alert: Alert,
        span: tuple[int, int],
        group: Group,
        previous: Fraction,
        value: Fraction,
        why: str,
        event: UsageEvent | None = None,
    ) -> None:
        transaction = event.transaction_id if event else None
        told = Told(kind, alert.id, span, group, previous, value, why, transaction)
        self.told.setdefault((alert.id, group), []).append(told)
