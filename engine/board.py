"""The gauges of one frame, and the way from an event's hour and values to the sinks that feed them.

    Board ──┬── usage gauges, by metric
            └── spend gauges, by (credit type, split) and group values
                    ▲
                 Family (contract's period, product, split) ── lines, made as their group values are first seen

Grouped spend is rated as though the alert's keys were presentation keys of each product. The smallest declared compound group key
of the product's metric that holds pricing, presentation, usage filter and alert keys is used; where there is none, the product
does not count for that alert. An absent value of an alert's key belongs to no group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from engine.alerts.kinds import contract_has
from engine.alerts.ladder import Gauge
from engine.alerts.watch import Scope, Split, Watch, split_of
from engine.catalog import Aggregation, Alert, AlertType, Contract, Product
from engine.cells import Line, Sink, usage_sink
from engine.compiled import CompiledCatalog
from engine.frames import Frame
from engine.headroom import Draft, Headrooms
from engine.metering.queries import dimension_for
from engine.metering.series import TOTAL, GroupValues
from engine.periods import Period
from engine.rating.book import RateBook
from engine.rating.filters import UsageSelection


class GroupSinks:
    """The sinks of one family in the hours of one segment, by the values of its dimension. None: not billed, not watched."""

    __slots__ = ("_family", "_hour", "_sinks", "dimension")

    def __init__(self, family: Family, hour: int) -> None:
        self._family = family
        self._hour = hour
        self._sinks: dict[GroupValues, Sink | None] = {}
        self.dimension = family.dimension

    def sink(self, values: GroupValues) -> Sink | None:
        try:
            return self._sinks[values]
        except KeyError:
            sink = self._sinks[values] = self._family.sink(values, self._hour)
            return sink


class Family:
    """The lines of one product in one contract's billing period, split by its own keys and those of one kind of alert.

    ``segments``: the hours at which any of its prices changes, or what the contract bills; between them, a group's sink stays
    the same."""

    __slots__ = (
        "_aggregation",
        "_board",
        "_book",
        "_by_segment",
        "_declared",
        "_drafts",
        "_lines",
        "_places",
        "_product",
        "_selection",
        "_split",
        "dimension",
        "period",
        "segments",
    )

    def __init__(
        self,
        board: Board,
        book: RateBook,
        selection: UsageSelection,
        product: Product,
        period: Period,
        split: Split,
        dimension: int,
        drafts: Mapping[str, Draft],
    ) -> None:
        self._board = board
        self._drafts = drafts
        self._selection = selection
        self._book = book
        self._product = product
        self._split = split
        self._aggregation = board.compiled.aggregations[product.metric_id]
        self._lines: dict[GroupValues, Line | None] = {}
        self._by_segment: dict[int, GroupSinks] = {}
        self.period = period
        self.dimension = dimension
        self._declared = declared = () if dimension == TOTAL else board.compiled.matchers[product.metric_id].dimensions[dimension]
        self._places = [
            [declared.index(name) for name in part]
            for part in (product.pricing_group_key, product.presentation_group_key, split.names)
        ]
        self.segments = sorted(book.changes(product.id, period).union(selection.starts))

    def group_sinks(self, hour: int) -> GroupSinks:
        changes = self._selection.starts if self._aggregation is Aggregation.LATEST else self.segments
        segment = bisect_right(changes, hour)
        found = self._by_segment.get(segment)
        if found is None:
            found = self._by_segment[segment] = GroupSinks(self, hour)
        return found

    def sink(self, values: GroupValues, hour: int) -> Sink | None:
        """What takes the usage of an hour with these values of the dimension."""
        if not self._selection.admits(hour, lambda name: values[self._declared.index(name)]):
            return None
        line = self._line_of(values)
        if line is None:
            return None
        return line.read if self._aggregation is Aggregation.LATEST else line.sink_at(hour)

    def feeds(self, gauge: Gauge, groups: Sequence[GroupValues], hour: int) -> bool:
        """Whether usage of an hour of the period counts on a gauge. ``groups``: the values for each declared key."""
        values = () if self.dimension == TOTAL else groups[self.dimension]
        if not self._selection.admits(hour, lambda name: values[self._declared.index(name)]):
            return False
        line = self._line_of(values)
        return line is not None and any(cell.gauge is gauge for cell in line.cells if cell.holds(hour))

    def _line_of(self, values: GroupValues) -> Line | None:
        pricing, presentation, group = (tuple([values[place] for place in places]) for places in self._places)
        key = (*pricing, *presentation, *group)
        if key not in self._lines:
            self._lines[key] = self._line(pricing, presentation, group)
        return self._lines[key]

    def _line(self, pricing: GroupValues, presentation: GroupValues, group: GroupValues) -> Line | None:
        pricing_values = tuple(value for value in pricing if value is not None)
        group_values = tuple(value for value in group if value is not None)
        if len(pricing_values) < len(pricing) or len(group_values) < len(group):
            return None
        slices = self._book.slices(self._product.id, pricing_values, self.period, presentation)
        gauges: dict[str, Gauge] = {}
        drafts: dict[str, Draft] = {}
        for part in slices:
            credit_type = part.ladder.credit_type_id
            if credit_type in self._drafts:
                drafts[credit_type] = self._board.draft_of(
                    self._drafts[credit_type], credit_type, self._product, (*pricing, *presentation)
                )
            gauge = self._board.spend_gauge(credit_type, self._split, group_values)
            if gauge is not None:
                gauges[credit_type] = gauge
        return Line(self._product, slices, gauges, self._aggregation, drafts) if gauges or drafts else None


class Sinks(NamedTuple):
    """What an event's value goes to: for one metric in one hour."""

    plain: tuple[Sink, ...]
    grouped: tuple[GroupSinks, ...]


class Board:
    """``scope``: the alerts on it are those that are about these contracts. ``due``: where gauges that leave their headroom put
    themselves. ``drafting``: the billing periods (contract id, period) of the frame whose lines report to ``headrooms``; the
    caller sees to it that each live one is on one board."""

    __slots__ = ("_families", "_headrooms", "_spend", "_usage", "_usage_sinks", "compiled", "due", "frame", "watch")

    def __init__(
        self,
        frame: Frame,
        watch: Watch,
        scope: Scope,
        compiled: CompiledCatalog,
        due: list[Gauge],
        headrooms: Headrooms,
        drafting: Container[tuple[str, Period]],
    ) -> None:
        self._headrooms = headrooms
        self.frame = frame
        self.watch = watch
        self.compiled = compiled
        self.due = due
        on_usage = {} if scope else watch.usage
        self._usage = {metric_id: Gauge(ladder, frame.span, due) for metric_id, ladder in on_usage.items()}
        self._usage_sinks = {
            metric_id: usage_sink(compiled.aggregations[metric_id], gauge)
            for metric_id, gauge in self._usage.items()
            if metric_id in compiled.aggregations
        }
        self._spend: dict[tuple[str, Split], dict[tuple[str, ...], Gauge]] = {}
        for (credit_type, split), ladders in watch.spend.items():
            if split.filters != scope:
                continue
            self._spend[credit_type, split] = {}
            for group in ladders.fixed_groups() if split.names else [()]:
                self.spend_gauge(credit_type, split, group)
        self._families: dict[str, list[Family]] = {}
        for contract, period in frame.running:
            book = compiled.contract_book(contract)
            if book is not None:
                drafts = self._drafts(contract) if (contract.id, period) in drafting else {}
                self._add_families(book, contract, period, drafts)

    def sinks(self, metric_id: str, hour: int) -> Sinks:
        plain: list[Sink] = []
        grouped: list[GroupSinks] = []
        usage = self._usage_sinks.get(metric_id)
        span = self.frame.span
        if usage is not None and span.starting_hour <= hour < span.ending_hour:
            plain.append(usage)
        latest = self.compiled.aggregations[metric_id] is Aggregation.LATEST
        for family in self._families.get(metric_id, ()):
            if hour >= family.period.ending_hour or (hour < family.period.starting_hour and not latest):
                continue
            if family.dimension == TOTAL:
                sink = family.sink((), hour)
                if sink is not None:
                    plain.append(sink)
            else:
                grouped.append(family.group_sinks(hour))
        return Sinks(tuple(plain), tuple(grouped))

    def spend_gauge(self, credit_type: str, split: Split, group: tuple[str, ...]) -> Gauge | None:
        """The gauge of one group, made if it is new; None if no alert watches it."""
        gauges = self._spend.get((credit_type, split))
        if gauges is None:
            return None
        gauge = gauges.get(group)
        if gauge is None:
            ladder = self.watch.spend[credit_type, split].ladder(group)
            if ladder is None:
                return None
            gauge = gauges[group] = Gauge(ladder, self.frame.span, self.due, group)
        return gauge

    def period_counted(self, gauge: Gauge, groups: Mapping[str, Sequence[GroupValues]], hour: int) -> Period | None:
        """See ``LiveGauges.period_counted``."""
        periods = [
            family.period
            for metric_id, values in groups.items()
            for family in self._families.get(metric_id, ())
            if family.feeds(gauge, values, hour)
        ]
        if not periods:
            return None
        return Period(min(period.starting_hour for period in periods), max(period.ending_hour for period in periods))

    def draft_of(self, draft: Draft, credit_type: str, product: Product, values: GroupValues) -> Draft:
        """What one line reports to. ``values``: of the product's pricing and presentation keys."""
        names = (*product.pricing_group_key, *product.presentation_group_key)
        seat_keys = self._headrooms.seat_keys
        pairs = {(name, value) for name, value in zip(names, values, strict=True) if value is not None and name in seat_keys}
        return self._headrooms.draft_of_seats(draft, credit_type, sorted(pairs)) if pairs else draft

    def cuts(self) -> set[int]:
        """The hours at which the sinks can change; between two neighbours of them, ``sinks`` answers the same."""
        hours = {*self.frame.span}
        for families in self._families.values():
            for family in families:
                hours.update(family.period, family.segments)
        return hours

    def gauges(self) -> Iterator[Gauge]:
        yield from self._usage.values()
        for gauges in self._spend.values():
            yield from gauges.values()

    def gauge_of(self, alert: Alert, group: tuple[str, ...]) -> Gauge | None:
        """The gauge that an alert watches; ``group`` in the order of the alert's own keys. None: nothing was measured for it."""
        if alert.type is AlertType.USAGE_THRESHOLD:
            return self._usage.get(alert.metric_id or "")
        split = split_of(alert)
        by_name = {name: value for (name, _), value in zip(alert.group_values, group, strict=True)}
        return self._spend.get((alert.credit_type_id, split), {}).get(tuple(by_name[name] for name in split.names))

    def _drafts(self, contract: Contract) -> dict[str, Draft]:
        card = self.compiled.catalog.rate_cards[contract.rate_card_id or ""]
        units = {*self._headrooms.by_credit_type, *(unit for unit, _ in card.conversions)}
        drafts = {unit: self._headrooms.draft(unit, card.fiat_credit_type_id, card.conversions) for unit in units}
        return {unit: draft for unit, draft in drafts.items() if draft is not None}

    def _add_families(self, book: RateBook, contract: Contract, period: Period, drafts: Mapping[str, Draft]) -> None:
        selection = UsageSelection(contract.usage_filters)
        whole = Split(())
        splits = {split for _, split in self._spend if contract_has(contract, split.filters)}
        if drafts:
            splits.add(whole)
        for metric_id in book.metric_ids():
            matcher = self.compiled.matchers.get(metric_id)
            if matcher is None:
                continue
            for product in book.products_of(metric_id):
                for split in splits:
                    needed = frozenset(
                        (*product.pricing_group_key, *product.presentation_group_key, *selection.keys, *split.names)
                    )
                    dimension = dimension_for(matcher.metric, needed)
                    if dimension is not None:
                        reports = drafts if split == whole else {}
                        family = Family(self, book, selection, product, period, split, dimension, reports)
                        self._families.setdefault(metric_id, []).append(family)
