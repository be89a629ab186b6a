"""What alerts must say, computed from the raw events by the book and with fractions; shares no code with the engine.

It covers one contract billed by weeks. ``Oracle.step`` is told what happens, in order; ``told`` is what must have been sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import NamedTuple

from engine.catalog import Alert, BillableMetric, Catalog, Product, Rate
from engine.effects import UsageEvent

HOUR_US = 3_600_000_000
WEEK = 7 * 24


class Told(NamedTuple):
    """One notification, reduced to what the oracle knows about it."""

    kind: str
    alert_id: str
    period: tuple[int, int]
    group: tuple[str, ...]
    previous: Fraction
    value: Fraction
    triggered_by: str
    transaction_id: str | None


def text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        whole = Fraction(value)
        return str(whole.numerator) if whole.denominator == 1 else format(Decimal(value).normalize(), "f")
    return value if isinstance(value, str) else None


def counts(metric: BillableMetric, event: UsageEvent) -> bool:
    """Whether the event passes the metric's filters and has its property."""
    if metric.event_types_in is not None and event.event_type not in metric.event_types_in:
        return False
    if metric.event_types_not_in is not None and event.event_type in metric.event_types_not_in:
        return False
    for condition in metric.property_filters:
        there = event.properties.get(condition.name) is not None
        value = text(event.properties.get(condition.name))
        if condition.exists is not None and condition.exists != there:
            return False
        if condition.in_values is not None and value not in condition.in_values:
            return False
        if condition.not_in_values is not None and value in condition.not_in_values:
            return False
    return metric.aggregation_key is None or event.properties.get(metric.aggregation_key) is not None


def number(metric: BillableMetric, event: UsageEvent) -> Fraction:
    return Fraction(Decimal(str(event.properties[metric.aggregation_key or ""])))


def aggregate(metric: BillableMetric, events: list[UsageEvent], before: list[UsageEvent] | None = None) -> Fraction:
    """The metric over events in order of arrival. ``before``: those ahead of a slice, for LATEST's increment."""
    match metric.aggregation:
        case "COUNT":
            return Fraction(len(events))
        case "SUM":
            return sum((number(metric, event) for event in events), Fraction(0))
        case "MAX":
            return max((number(metric, event) for event in events), default=Fraction(0))
        case "UNIQUE":
            return Fraction(len({text(event.properties[metric.aggregation_key or ""]) for event in events}))
    if not events:
        return Fraction(0)
    return latest(metric, events) - (latest(metric, before) if before else 0)


def latest(metric: BillableMetric, events: list[UsageEvent]) -> Fraction:
    newest = max(event.timestamp_us for event in events)
    return number(metric, [event for event in events if event.timestamp_us == newest][-1])


def billed(product: Product, raw: Fraction) -> Fraction:
    quantity = raw
    if product.conversion is not None:
        factor = Fraction(product.conversion.factor)
        if product.conversion.operation == "MULTIPLY":
            quantity = raw * factor
        else:
            quantity = Fraction(round(raw / factor * 10**38), 10**38)  # half to even
    if product.rounding is not None:
        scale = 10**product.rounding.decimal_places
        size = abs(quantity) * scale
        whole = {"ROUND_UP": ceil(size), "ROUND_DOWN": floor(size)}.get(product.rounding.method, floor(size + Fraction(1, 2)))
        quantity = Fraction(whole, scale) * (1 if quantity >= 0 else -1)
    return quantity


def cost(rate: Rate, quantity: Fraction) -> Fraction:
    """The cost of the first units of a ladder; below zero at the first price."""
    if rate.rate_type == "FLAT":
        return quantity * Fraction(rate.price)
    if quantity <= 0:
        return quantity * Fraction(rate.tiers[0].price)
    total = Fraction(0)
    for tier in rate.tiers:
        here = quantity if tier.size is None else min(quantity, Fraction(tier.size))
        total += here * Fraction(tier.price)
        quantity -= here
    return total


def rate_at(catalog: Catalog, product: Product, values: tuple[str | None, ...], hour: int) -> Rate | None:
    wanted = dict(zip(product.pricing_group_key, values, strict=True))
    for rate in reversed(catalog.rate_cards["card"].rates):
        covers = rate.starting_hour <= hour and (rate.ending_hour is None or hour < rate.ending_hour)
        if covers and rate.product_id == product.id and dict(rate.pricing_group_values) == wanted:
            return rate if rate.entitled else None
    return None


def priced_alike(a: Rate | None, b: Rate | None) -> bool:
    if a is None or b is None:
        return a is b
    if (a.rate_type, a.credit_type_id) != (b.rate_type, b.credit_type_id):
        return False
    return a.price == b.price if a.rate_type == "FLAT" else a.tiers == b.tiers


def spend(
    catalog: Catalog, alert: Alert, period: tuple[int, int], events: list[UsageEvent], with_usage: bool = False
) -> dict[tuple[str, ...], Fraction]:
    """Spend in the alert's credit type by values of the alert's group keys; () if it has none. ``with_usage``: only what has
    usage that is priced in this credit type, be it at nothing."""
    names = tuple(name for name, _ in alert.group_values)
    totals: dict[tuple[str, ...], Fraction] = {}
    for product in (each for each in catalog.products.values() if each.type == "USAGE"):
        metric = catalog.metrics[product.metric_id]
        keys = (*product.pricing_group_key, *product.presentation_group_key, *names)
        if keys and not any(set(keys) <= set(declared) for declared in metric.group_keys):
            continue
        lines: dict[tuple[str | None, ...], list[UsageEvent]] = {}
        for event in events:
            since = 0 if metric.aggregation == "LATEST" else period[0]  # its increments need what was read before
            if counts(metric, event) and since <= event.hour < period[1]:
                lines.setdefault(tuple(text(event.properties.get(key)) for key in keys), []).append(event)
        for values, line in lines.items():
            group = values[len(keys) - len(names) :]
            pricing = values[: len(product.pricing_group_key)]
            if None in group or not watched(alert, group):
                continue
            amounts, used = line_amounts(catalog, product, pricing, period, line)
            if alert.credit_type_id in (used if with_usage else amounts):
                named = tuple(value for value in group if value is not None)  # all of them: see above
                totals[named] = totals.get(named, Fraction(0)) + amounts[alert.credit_type_id]
    return totals


def watched(alert: Alert, group: tuple[str | None, ...]) -> bool:
    return all(value is None or value == seen for (_, value), seen in zip(alert.group_values, group, strict=True))


def line_amounts(
    catalog: Catalog, product: Product, pricing: tuple[str | None, ...], period: tuple[int, int], line: list[UsageEvent]
) -> tuple[dict[str, Fraction], set[str]]:
    """By credit type, and the credit types in which there is usage; the counter of tiers runs on across slices."""
    start, end = period
    slices: list[tuple[int, int, Rate | None]] = []
    changes = {hour for rate in catalog.rate_cards["card"].rates for hour in (rate.starting_hour, rate.ending_hour or end)}
    steps = sorted({start, *(hour for hour in changes if start < hour < end), end})
    for first, last in pairwise(steps):
        rate = rate_at(catalog, product, pricing, first)
        if slices and priced_alike(slices[-1][2], rate):
            slices[-1] = (slices[-1][0], last, rate)
        else:
            slices.append((first, last, rate))
    amounts: dict[str, Fraction] = {}
    used: set[str] = set()
    position = Fraction(0)
    for first, last, rate in slices:
        inside = [event for event in line if first <= event.hour < last]
        if rate is None:
            continue
        before = [event for event in line if event.hour < first]
        quantity = billed(product, aggregate(catalog.metrics[product.metric_id], inside, before))
        amount = cost(rate, position + quantity) - cost(rate, position)
        amounts[rate.credit_type_id] = amounts.get(rate.credit_type_id, Fraction(0)) + amount
        position += quantity
        used |= {rate.credit_type_id} if inside else set()
    return amounts, used


class Oracle:
    """One customer with one weekly contract that began in the first week, at hour ``first_hour``, and never ends."""

    def __init__(self, catalog: Catalog, first_hour: int, grace_hours: int, now_us: int) -> None:
        self.catalog = catalog
        self.first_hour = first_hour
        self.grace = grace_hours
        self.now_us = now_us
        self.events: list[UsageEvent] = []
        self.alarms: dict[tuple[str, tuple[int, int], tuple[str, ...]], str] = {}
        self.told: list[Told] = []
        self._look("creation")

    def week(self, hour: int) -> tuple[int, int]:
        start = hour - (hour - self.first_hour) % WEEK
        return start, start + WEEK

    def step(self, event: UsageEvent, now_us: int) -> None:
        self.pass_time(now_us)
        if any(counts(metric, event) for metric in self.catalog.metrics.values()):
            if event.hour >= self.week(self.now_us // HOUR_US)[1]:
                self._look("time", ahead=event.hour)
            was = {alert.id: self._values(alert) for alert in self.catalog.alerts}
            self.events.append(event)
            self._look("usage", event, was)

    def pass_time(self, now_us: int) -> None:
        """Hour by hour, as nobody would do it."""
        for hour in range(self.now_us // HOUR_US + 1, now_us // HOUR_US + 1):
            current = self.week(hour)
            if hour == current[0]:
                self.now_us = hour * HOUR_US
                self._end("alarm", "lapsed", [self.week(hour - 1)], current)
                if self.grace == 0:
                    self.alarms = {key: state for key, state in self.alarms.items() if key[1][1] > hour}
                self._look("time")
            elif (hour - self.grace) == self.week(hour - self.grace)[0]:
                self.now_us = hour * HOUR_US
                final = [period for _, period, _ in self.alarms if period[1] + self.grace <= hour]
                self._end("alarm", None, final, current)
                self.alarms = {key: state for key, state in self.alarms.items() if key[1][1] + self.grace > hour}
        self.now_us = max(self.now_us, now_us)

    def _periods(self, ahead: int | None) -> list[tuple[int, int]]:
        hour = self.now_us // HOUR_US
        hours = [ahead] if ahead is not None else []
        counted = [e.hour for e in self.events if any(counts(m, e) for m in self.catalog.metrics.values())]
        periods = {self.week(h) for h in (*counted, *hours) if h >= hour} | {self.week(hour)}
        start = self.week(hour)[0]
        while start > self.first_hour and start + self.grace > hour:
            start -= WEEK
            periods.add((start, start + WEEK))
        return sorted(periods)

    def measured(self, alert: Alert) -> dict[tuple[tuple[int, int], tuple[str, ...]], Fraction]:
        """What the alert measures now, by live period and group."""
        return self._values(alert)

    def _values(self, alert: Alert, ahead: int | None = None) -> dict[tuple[tuple[int, int], tuple[str, ...]], Fraction]:
        values: dict[tuple[tuple[int, int], tuple[str, ...]], Fraction] = {}
        for period in self._periods(ahead):
            if alert.metric_id is not None:
                metric = self.catalog.metrics[alert.metric_id]
                inside = [e for e in self.events if period[0] <= e.hour < period[1] and counts(metric, e)]
                values[period, ()] = aggregate(metric, inside)
                continue
            for group, value in spend(self.catalog, alert, period, self.events).items():
                values[period, group] = value
            for group in self._named(alert):
                values.setdefault((period, group), Fraction(0))
        return values

    def _with_usage(self, alert: Alert, ahead: int | None) -> set[tuple[tuple[int, int], tuple[str, ...]]]:
        """The periods and groups in which something was measured: elsewhere even a threshold of 0 is not reached."""
        found = set()
        for period in self._periods(ahead):
            if alert.metric_id is None:
                found |= {(period, group) for group in spend(self.catalog, alert, period, self.events, with_usage=True)}
            elif any(period[0] <= e.hour < period[1] and counts(self.catalog.metrics[alert.metric_id], e) for e in self.events):
                found.add((period, ()))
        return found

    def _named(self, alert: Alert) -> list[tuple[str, ...]]:
        """The groups that are known without usage: those that some alert on the same keys and credit type names in full."""
        groups = []
        for other in self.catalog.alerts:
            values = dict(other.group_values)
            alike = other.metric_id is None and other.credit_type_id == alert.credit_type_id
            if alike and values.keys() == dict(alert.group_values).keys() and None not in values.values():
                group = tuple(values[name] for name, _ in alert.group_values)
                if watched(alert, group):
                    groups.append(group)
        return groups  # type: ignore[return-value]

    def _look(
        self,
        why: str,
        event: UsageEvent | None = None,
        was: Mapping[str, Mapping[tuple[tuple[int, int], tuple[str, ...]], Fraction]] | None = None,
        ahead: int | None = None,
    ) -> None:
        for alert in sorted(self.catalog.alerts, key=lambda alert: (alert.threshold, alert.id)):
            with_usage = self._with_usage(alert, ahead)
            for (period, group), value in sorted(self._values(alert, ahead).items()):
                key = (alert.id, period, group)
                state = self.alarms.get(key)
                past = value >= Fraction(alert.threshold) and (period, group) in with_usage
                if past == (state is not None) or state == "lapsed":
                    continue
                kind = "reached" if past else "resolved"
                if past:
                    over = period[1] * HOUR_US <= self.now_us
                    if why == "creation" and over:
                        self.alarms[key] = "lapsed"
                        continue
                    self.alarms[key] = "alarm"
                else:
                    del self.alarms[key]
                before = was[alert.id].get((period, group), Fraction(0)) if was is not None else value
                transaction = event.transaction_id if event else None
                self.told.append(Told(kind, alert.id, period, group, before, value, why, transaction))

    def _end(self, old: str, new: str | None, periods: list[tuple[int, int]], current: tuple[int, int]) -> None:
        alerts = {alert.id: alert for alert in self.catalog.alerts}
        ending = [key for key, state in self.alarms.items() if state == old and key[1] in periods]
        for key in sorted(ending, key=lambda key: (alerts[key[0]].threshold, *key)):
            values = self._values(alerts[key[0]])
            everything = {**self._values_of(alerts[key[0]], key[1])}
            value = values.get((current, key[2]), Fraction(0))
            before = everything.get(key[2], value)
            overtaken = self.alarms.get((key[0], current, key[2])) in ("alarm", "held")
            if not overtaken:
                self.told.append(Told("resolved", key[0], key[1], key[2], before, value, "period_reset", None))
            if new is None:
                del self.alarms[key]
            else:
                self.alarms[key] = new

    def _values_of(self, alert: Alert, period: tuple[int, int]) -> dict[tuple[str, ...], Fraction]:
        """The values of one period, live or not."""
        if alert.metric_id is not None:
            metric = self.catalog.metrics[alert.metric_id]
            return {(): aggregate(metric, [e for e in self.events if period[0] <= e.hour < period[1] and counts(metric, e)])}
        found = spend(self.catalog, alert, period, self.events)
        for group in self._named(alert):
            found.setdefault(group, Fraction(0))
        return found
