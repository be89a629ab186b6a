"""Accumulators: from what an event adds to a metric, to what it moves on a gauge. The innermost part of the hot path.

    event's value ─► Peak / Distinct / LastReading ─► change of quantity ─► UsageTarget: the gauge itself
                     (SUM and COUNT need none)                          └─► Cell of a line: money, then the gauge

A *line* is the usage of one product by one combination of pricing, presentation and alert group values in one billing
period; it has a *cell* for each slice of constant price (see engine.rating). Its spend is kept exactly, without rating it again
at each event:

- Where spend is linear in the quantity (no rounding, an exact conversion), a change costs one multiplication. On a flat price
  that holds for any change; on a tiered one until the tier's edge: the cell's ``reach`` is its headroom.
- Everywhere else (tier edge reached, quantity taken back on tiers, quantity rounding, a DIVIDE that does not come out even,
  tiers that run on across a price change) the line is rated again, that line alone.

So the gauge's value is at every moment what rating everything from scratch would give.
A cell may also report its changes of spend to the headroom of balances and invoices (engine.headroom).
A cell takes about 400 bytes, its line 300; UNIQUE adds 100 for each element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, Context, Decimal, Inexact

from engine.alerts.ladder import Gauge
from engine.catalog import Aggregation, Operation, Product
from engine.headroom import Draft, Headrooms
from engine.metering.codec import Reading
from engine.metering.matching import ONE
from engine.numbers import FRACTION_DIGITS_MAX, ZERO
from engine.periods import HOUR_US
from engine.rating.book import Slice
from engine.rating.lines import line_spend
from engine.rating.quantities import billed_quantity

Sink = Callable[..., None]
"""``sink(value, serial)``: takes a Decimal (COUNT, SUM, MAX), a Reading (LATEST) or a str (UNIQUE), and the event's number."""

_REACHES = Context(prec=40, rounding=ROUND_DOWN)  # a reach rounded down is only looked at again a little earlier
_ENDLESS = Decimal("Infinity")
_INVERSES = Context(prec=FRACTION_DIGITS_MAX, traps=[Inexact])


class Peak:
    """MAX: the greatest value so far; 0 as long as there is none."""

    __slots__ = ("_shift", "_value")

    def __init__(self, shift: Sink) -> None:
        self._shift = shift
        self._value: Decimal | None = None

    def add(self, value: Decimal, serial: int) -> None:
        old = self._value
        if old is None or value > old:
            self._value = value
            self._shift(value if old is None else value - old, serial)


class Distinct:
    """UNIQUE: how many different texts."""

    __slots__ = ("_elements", "_shift")

    def __init__(self, shift: Sink) -> None:
        self._shift = shift
        self._elements: set[str] = set()

    def add(self, value: str, serial: int) -> None:
        if value not in self._elements:
            self._elements.add(value)
            self._shift(ONE, serial)


class LastReading:
    """LATEST in usage: the last reading itself. Of two readings with one timestamp the later arrival counts."""

    __slots__ = ("_last", "_shift")

    def __init__(self, shift: Sink) -> None:
        self._shift = shift
        self._last = Reading(-(2**63), 0, ZERO)

    def add(self, reading: Reading, serial: int) -> None:
        last = self._last
        if reading >= last:
            self._last = reading
            self._shift(reading.value - last.value, serial)


class Increment:
    """LATEST in rating: the last reading of a slice minus the last one before it (0 if there is none); may be negative."""

    __slots__ = ("_base", "_ending_us", "_last", "_quantity", "_shift", "_starting_us")

    def __init__(self, shift: Sink, starting_hour: int, ending_hour: int) -> None:
        self._shift = shift
        self._starting_us = starting_hour * HOUR_US
        self._ending_us = ending_hour * HOUR_US
        self._base: Reading | None = None
        self._last: Reading | None = None
        self._quantity = ZERO

    def add(self, reading: Reading, serial: int) -> None:
        first = False
        if reading.timestamp_us < self._starting_us:
            if self._base is None or reading >= self._base:
                self._base = reading
        elif reading.timestamp_us < self._ending_us and (self._last is None or reading >= self._last):
            first = self._last is None
            self._last = reading
        if self._last is not None:
            quantity = self._last.value - self._base.value if self._base is not None else self._last.value
            if first or quantity != self._quantity:
                self._shift(quantity - self._quantity, serial)
                self._quantity = quantity


def usage_sink(aggregation: Aggregation, gauge: Gauge) -> Sink:
    """What feeds a usage gauge."""
    match aggregation:
        case Aggregation.MAX:
            return Peak(gauge.shift).add
        case Aggregation.UNIQUE:
            return Distinct(gauge.shift).add
        case Aggregation.LATEST:
            return LastReading(gauge.shift).add
        case _:
            return gauge.shift


class Cell:
    """One slice of a line. ``slope``: money for each unit of raw quantity, None = rate the line again at each change.
    ``reach``: how much may be added until the tier's edge; None = any change, of either sign."""

    __slots__ = ("draft", "ending_hour", "gauge", "line", "quantity", "reach", "sink", "slope", "starting_hour")

    def __init__(self, line: Line, part: Slice, gauge: Gauge | None, draft: Draft | None, aggregation: Aggregation) -> None:
        self.line = line
        self.gauge = gauge
        self.draft = draft
        self.starting_hour, self.ending_hour = part.starting_hour, part.ending_hour
        self.quantity = ZERO
        self.slope: Decimal | None = None
        self.reach: Decimal | None = None
        self.sink: Sink
        match aggregation:
            case Aggregation.MAX:
                self.sink = Peak(self.shift).add
            case Aggregation.UNIQUE:
                self.sink = Distinct(self.shift).add
            case Aggregation.LATEST:
                self.sink = Increment(self.shift, part.starting_hour, part.ending_hour).add
            case _:
                self.sink = self.shift

    def holds(self, hour: int) -> bool:
        return self.starting_hour <= hour < self.ending_hour

    def shift(self, delta: Decimal, serial: int) -> None:
        """Adds to the quantity, and moves the gauge by what that costs. (It ends as Gauge.shift, spelled out for speed.)"""
        slope = self.slope
        if slope is None:
            self.line.rate_again(self, delta, serial)
            return
        grain = self.line.grain
        if grain is not None and delta % grain:
            self.line.give_up_slopes()
            self.line.rate_again(self, delta, serial)
            return
        reach = self.reach
        if reach is not None:
            if delta < 0 or delta > reach:
                self.line.rate_again(self, delta, serial)
                return
            self.reach = reach - delta
        self.quantity += delta
        if self.draft is not None:
            self.draft.change(delta * slope)
        gauge = self.gauge
        if gauge is None:
            return
        before = gauge.value
        if gauge.serial != serial:
            gauge.serial = serial
            gauge.before = before
        gauge.value = after = before + delta * slope
        if after >= gauge.high or after < gauge.low:
            gauge.due.append(gauge)

    def slope_for(self, deltas: Sequence[Decimal], total: Decimal) -> Decimal | None:
        """The slope along which all of these changes, none below zero, would move the gauge; None where the line would be rated
        again on the way. ``total``: their sum."""
        if self.reach is not None and total > self.reach:
            return None
        grain = self.line.grain
        if self.slope is not None and grain is not None and any(delta % grain for delta in deltas):
            return None
        return self.slope


class Line:
    """``gauges``, ``drafts``: by credit type, those that somebody asks for. ``grain``: a change that is no multiple of it does
    not convert evenly (None: all do)."""

    __slots__ = (
        "_credit_types",
        "_drafts",
        "_factor",
        "_falling",
        "_gauges",
        "_known",
        "_latest_hour",
        "_ordered",
        "_product",
        "_slices",
        "cells",
        "grain",
    )

    def __init__(
        self,
        product: Product,
        slices: Sequence[Slice],
        gauges: Mapping[str, Gauge],
        aggregation: Aggregation,
        drafts: Mapping[str, Draft],
    ) -> None:
        self._product = product
        self._slices = slices
        self._gauges = gauges
        self._drafts = drafts
        self._credit_types = tuple({**gauges, **drafts})
        self._known: list[Decimal] | None = None  # the spend at the last rating, if there are no slopes that moved it since
        self.cells = [
            Cell(self, part, gauges.get(part.ladder.credit_type_id), drafts.get(part.ladder.credit_type_id), aggregation)
            for part in slices
        ]
        self._factor, self.grain = linear_conversion(product)
        summed = aggregation in (Aggregation.SUM, Aggregation.COUNT) and self._factor is not None and self.grain is None
        plain = summed and not any(part.ladder.edges for part in slices)
        self._ordered = None if plain or not drafts else next(iter(drafts.values())).headrooms
        self._latest_hour = -1
        negative = bool(drafts) and any(price < 0 for part in slices for price in part.ladder.prices)
        self._falling = next(iter(drafts.values())).headrooms if negative else None
        if len(slices) > 1 and any(part.ladder.edges for part in slices):
            self._factor = None
        self._find_slopes()

    def sink_at(self, hour: int) -> Sink | None:
        """What takes the values of an hour; None if that hour is not billed."""
        for cell in self.cells:
            if cell.holds(hour):
                return cell.sink if self._ordered is None else self._in_order(cell.sink)
        return None

    def read(self, reading: Reading, serial: int) -> None:
        """A LATEST reading concerns its own slice, and as its base each slice after it."""
        if self._ordered is not None:
            self._watch_order(self._ordered)
        for cell in self.cells:
            cell.sink(reading, serial)

    def _in_order(self, sink: Sink) -> Sink:
        """The sink, for a line whose earlier hours decide what the later ones cost."""
        headrooms = self._ordered
        assert headrooms is not None

        def ordered(value: object, serial: int) -> None:
            self._watch_order(headrooms)
            sink(value, serial)

        return ordered

    def _watch_order(self, headrooms: Headrooms) -> None:
        if headrooms.hour < self._latest_hour:
            headrooms.due = True
        else:
            self._latest_hour = headrooms.hour

    def rate_again(self, changed: Cell, delta: Decimal, serial: int) -> None:
        """Adds to a cell's quantity, and moves each gauge by the difference in the line's spend."""
        before = self._spend() if self._known is None else self._known
        changed.quantity += delta
        after = self._spend()
        for credit_type, old, new in zip(self._credit_types, before, after, strict=True):
            gauge = self._gauges.get(credit_type)
            if gauge is not None and (old != new or gauge is changed.gauge):  # usage without cost is usage
                gauge.shift(new - old, serial)
            if credit_type in self._drafts:  # free usage, too: a balance may draw its units
                self._drafts[credit_type].change(new - old)
        if self._falling is not None:  # one tier may have risen by more than the line has
            self._falling.due = True
        self._known = after if self._factor is None else None
        self._find_slopes()

    def give_up_slopes(self) -> None:
        """From now on, this line is rated at each change."""
        self._factor = None
        for cell in self.cells:
            cell.slope = None

    def _spend(self) -> list[Decimal]:
        quantities = [cell.quantity for cell in self.cells]
        return [line_spend(self._product, self._slices, quantities, credit_type) for credit_type in self._credit_types]

    def _find_slopes(self) -> None:
        """Where spend is linear from the present quantities on; see the module's text."""
        factor = self._factor
        if factor is None:
            return
        for cell, part in zip(self.cells, self._slices, strict=True):
            ladder = part.ladder
            if not ladder.edges:
                cell.slope = ladder.prices[0] * factor
                continue
            position = billed_quantity(self._product, cell.quantity)
            tier = ladder.tier_after(position)
            cell.slope = ladder.prices[tier] * factor
            last = tier == len(ladder.edges)
            cell.reach = _ENDLESS if last else _REACHES.divide(ladder.edges[tier] - position, factor)


def linear_conversion(product: Product) -> tuple[Decimal | None, Decimal | None]:
    """(factor, grain): billed = raw * factor for raw quantities that are multiples of ``grain`` (None: for all).

    A DIVIDE by 8 is times 0.125, and exact to the 38th place if the raw quantity has at most 35: its grain is 10**-35.
    (None, None) where billing is not linear: with rounding, and for a DIVIDE by 3."""
    if product.rounding is not None:
        return None, None
    conversion = product.conversion
    if conversion is None:
        return ONE, None
    if conversion.operation is Operation.MULTIPLY:
        return conversion.factor, None
    try:
        inverse = _INVERSES.divide(ONE, conversion.factor)
    except Inexact:
        return None, None
    exponent = inverse.as_tuple().exponent
    assert isinstance(exponent, int)  # finite
    return inverse, Decimal((0, (1,), -exponent - FRACTION_DIGITS_MAX))
