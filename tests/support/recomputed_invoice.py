"""What a customer owes and has, computed from the raw events by the book, with fractions and hour by hour.

It shares no code with the engine's rating, balances and invoices. Where the engine cuts lines at boundaries, this looks at each
hour by itself; where the engine goes line by line, this goes balance by balance; and it finds the next balance by narrowing
the choice rule by rule, as the reference tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple

from engine.catalog import Balance, Catalog, Contract, CustomerConfig, Product, Rate, Segment, Specifier
from engine.effects import UsageEvent
from engine.periods import periods_between
from tests.support.recomputed import aggregate, billed, counts, text
from tests.support.recomputed_prices import price_for, tagged_then
from tests.support.recomputed_recurring import charged

HOUR_US = 3_600_000_000
MANY = 10**9


class Payment(NamedTuple):
    """``units``: how many of them are paid for, where it is not plain money that pays. ``price``: where it is not the line's."""

    balance: Balance
    segment: Segment
    amount: Fraction
    units: Fraction = Fraction(0)
    price: Fraction | None = None


@dataclass
class Line:
    """``hours``: hour -> (units, amount). ``paid``: who paid how much, in that order. ``prices``: by balance, what it pays a unit
    with, where that is not ``price``. ``open_units``: what nobody has paid, as a number of units."""

    unit: str
    start: int
    end: int
    price: Fraction
    product: str | None = None
    pricing: tuple[tuple[str, str], ...] = ()
    presentation: tuple[tuple[str, str | None], ...] = ()
    level: int = 0
    hours: dict[int, tuple[Fraction, Fraction]] = field(default_factory=dict)
    paid: list[Payment] = field(default_factory=list)
    payable: bool = True
    prices: dict[str, Fraction] = field(default_factory=dict)
    open_units: Fraction = Fraction(0)
    due: int | None = None

    @property
    def units(self) -> Fraction:
        return sum((units for units, _ in self.hours.values()), Fraction(0))

    @property
    def amount(self) -> Fraction:
        return sum((amount for _, amount in self.hours.values()), Fraction(0))

    def shares(self, payer: int) -> dict[int, Fraction]:
        """What one payer paid in each hour: the running amount, as far as it lies in its own part."""
        low = sum((each.amount for each in self.paid[:payer]), Fraction(0))
        own = self.paid[payer].amount
        running = before = Fraction(0)
        shares = {}
        for hour in sorted(self.hours):
            running += self.hours[hour][1]
            now = min(max(running - low, Fraction(0)), own)
            shares[hour] = now - before
            before = now
        return {hour: share for hour, share in shares.items() if share}


@dataclass
class Bill:
    """One invoice."""

    contract: str
    period: tuple[int, int]
    lines: list[Line]
    total: Fraction

    def drawn(self, balance: Balance, segment: Segment) -> Fraction:
        made = (each for line in self.lines for each in line.paid)
        own = (each for each in made if (each.balance.id, each.segment.id) == (balance.id, segment.id))
        return sum((each.units if balance.access_type == "QUANTITY" else each.amount for each in own), Fraction(0))


class Held(NamedTuple):
    """A segment at a moment. ``ledger``: (kind, microseconds, amount)."""

    remaining: Fraction
    remaining_finalized: Fraction
    ledger: list[tuple[str, int, Fraction]]


class Accounts:
    """One customer. ``event`` and ``finalize`` are told what happens; ``look`` says what is so."""

    def __init__(self, catalog: Catalog, config: CustomerConfig, grace_hours: int) -> None:
        self.catalog = catalog
        self.config = config
        self.grace = grace_hours
        self.events: list[UsageEvent] = []
        self.final: list[Bill] = []

    def finalize(self, now_hour: int) -> None:
        for contract, period in self._periods(0, now_hour - self.grace):
            if period[1] + self.grace <= now_hour and not self._is_final(contract, period):
                self.final.append(self._bill(contract, period, self.final))

    def look(self, now_us: int) -> tuple[list[Bill], dict[tuple[str, str], Held]]:
        hour = now_us // HOUR_US
        drafts: list[Bill] = []
        for contract, period in self._periods(0, hour + 1):
            if period[1] + self.grace > hour and not self._is_final(contract, period):
                drafts.append(self._bill(contract, period, [*self.final, *drafts]))
        held = {
            (balance.id, segment.id): self._held(balance, segment, drafts, now_us)
            for balance in self.config.balances
            for segment in balance.segments
        }
        return drafts, held

    def _periods(self, start: int, end: int) -> list[tuple[Contract, tuple[int, int]]]:
        found = [
            (contract, (period.starting_hour, period.ending_hour))
            for contract in self.config.contracts
            for period in periods_between(contract.schedule, contract.starting_hour, contract.ending_hour, start, end)
        ]
        return sorted(found, key=lambda each: (each[1][1], each[1][0], each[0].id))

    def _is_final(self, contract: Contract, period: tuple[int, int]) -> bool:
        return any((bill.contract, bill.period) == (contract.id, period) for bill in self.final)

    def _bill(self, contract: Contract, period: tuple[int, int], earlier: Sequence[Bill]) -> Bill:
        card = self.catalog.rate_cards["card"]
        rates = {unit: Fraction(rate) for unit, rate in card.conversions}
        fiat = card.fiat_credit_type_id
        left: dict[tuple[str, str], Fraction | int] = {
            (balance.id, segment.id): max(
                granted(balance, segment)
                + sum(self._rolled(balance, earlier).values())
                - sum(bill.drawn(balance, segment) for bill in earlier),
                Fraction(0),
            )
            for balance in self.config.balances
            for segment in balance.segments
        }
        lines = [*self._usage(contract, period, fiat, rates), *self._subscriptions(contract, period)]
        lines = [*self._paid([line for line in lines if line.unit != fiat], contract, left), *in_unit(lines, fiat)]
        for unit, rate in rates.items():
            lines.extend(self._conversions(contract, period, [line for line in lines if line.unit == unit], fiat, rate))
        payable = [line for line in in_unit(lines, fiat) if line.payable]
        lines = [*(line for line in lines if line not in payable), *self._paid(payable, contract, left)]
        owed = sum((line.amount for line in lines if line.unit == fiat), Fraction(0))
        paid = [each for line in lines if line.unit == fiat for each in line.paid]
        total = owed - sum((each.amount for each in paid if not is_owed_later(each.balance)), Fraction(0))
        return Bill(contract.id, period, lines, total)

    def _usage(self, contract: Contract, period: tuple[int, int], fiat: str, rates: dict[str, Fraction]) -> list[Line]:
        lines: list[Line] = []
        for product in self.catalog.products.values():
            if product.type != "USAGE":
                continue
            for values, events in self._groups(contract, product, period).items():
                pricing = tuple(zip(product.pricing_group_key, values[: len(product.pricing_group_key)], strict=True))
                shown = tuple(zip(product.presentation_group_key, values[len(product.pricing_group_key) :], strict=True))
                if any(value is None for _, value in pricing):
                    continue

                def payers(unit: str, hour: int, product: Product = product, of: object = (pricing, shown)) -> object:
                    found = self._payers(contract, unit, hour, product, *of)  # type: ignore[misc]
                    return found + (self._payers(contract, fiat, hour, None, (), ()) if unit in rates else [])

                def price(
                    hour: int, balance: Balance | None = None, product: Product = product, of: object = (pricing, shown)
                ) -> Rate | None:
                    return price_for(self.catalog, contract, product, *map(dict, of), hour, balance)  # type: ignore[call-overload, call-arg]

                for line in self._rated(product, period, events, payers, price):
                    line.pricing, line.presentation = tuple(sorted(pricing)), tuple(sorted(shown))  # type: ignore[arg-type]
                    lines.append(line)
        return [line for line in lines if line.units]

    def _subscriptions(self, contract: Contract, period: tuple[int, int]) -> list[Line]:
        lines: list[Line] = []
        for subscription in contract.subscriptions:
            for each in charged(self.catalog, contract, subscription, period):
                line = Line(each.unit, each.start, each.end, each.price, subscription.product_id)
                line.due = max(each.start, period[0])
                line.hours[min(line.due, period[1] - 1)] = (each.quantity, each.quantity * each.price)
                lines.append(line)
        return lines

    def _groups(
        self, contract: Contract, product: Product, period: tuple[int, int]
    ) -> dict[tuple[str | None, ...], list[UsageEvent]]:
        metric = self.catalog.metrics[product.metric_id]
        keys = (*product.pricing_group_key, *product.presentation_group_key)
        needed = {*keys, *(each.group_key for each in contract.usage_filters)}
        if needed and not any(needed <= set(declared) for declared in metric.group_keys):
            return {}
        groups: dict[tuple[str | None, ...], list[UsageEvent]] = {}
        for event in self.events:
            holding = [each for each in contract.usage_filters if each.starting_hour <= event.hour][-1:]
            admitted = all(text(event.properties.get(each.group_key)) in each.group_values for each in holding)
            since = 0 if metric.aggregation == "LATEST" else period[0]
            if admitted and counts(metric, event) and since <= event.hour < period[1]:
                groups.setdefault(tuple(text(event.properties.get(key)) for key in keys), []).append(event)
        return groups

    def _rated(
        self,
        product: Product,
        period: tuple[int, int],
        events: list[UsageEvent],
        payers: Callable[[str, int], object],
        price: Callable[..., Rate | None],
    ) -> list[Line]:
        """The lines of one group: one for each slice of constant price, stretch with the same payers who draw at the same prices,
        and piece between two edges of anybody's tiers."""
        lines: list[Line] = []
        position = Fraction(0)
        metric = self.catalog.metrics[product.metric_id]
        for first, last, rate in slices_of(price, period):
            if rate is None:
                continue
            before = [event for event in events if event.hour < first]
            inside = [event for event in events if first <= event.hour < last]
            start = reached = position

            def who(hour: int, rate: Rate = rate) -> tuple[object, dict[str, Rate]]:
                found = payers(rate.credit_type_id, hour)
                own = self._own_prices(found, product, rate, price, hour)
                return (found, tagged_then(product, hour).tags), own

            for (_, own), hours in groupby(range(first, last), key=who):
                stretch = list(hours)
                edges = sorted({edge for each in (rate, *own.values()) for edge in edges_of(each)})
                tiers = []
                for edge in [*edges, None]:
                    line = Line(rate.credit_type_id, stretch[0], stretch[-1] + 1, price_below(rate, edge), product.id)
                    line.level = sum(1 for each in edges_of(rate) if edge is None or each < edge)
                    below = {name: price_below(each, edge) for name, each in own.items()}
                    line.prices = {name: each for name, each in below.items() if each != line.price}
                    tiers.append(line)
                for hour in stretch:
                    if not any(event.hour == hour for event in inside):
                        continue
                    so_far = [event for event in inside if event.hour <= hour]
                    now = start + billed(product, aggregate(metric, so_far, before))
                    for line, was, units in zip(tiers, fill(edges, reached), fill(edges, now), strict=True):
                        if units != was:
                            line.hours[hour] = (units - was, (units - was) * line.price)
                    reached = now
                lines.extend(tiers)
            position = reached
        return lines

    def _own_prices(
        self, found: object, product: Product, rate: Rate, price: Callable[..., Rate | None], hour: int
    ) -> dict[str, Rate]:
        """What those who may pay the usage itself draw at, where that is not what the contract is charged."""
        own: dict[str, Rate] = {}
        for balance in self.config.balances:
            may_pay = of_unit(balance, rate.credit_type_id, product) and balance.access_type == "SPEND"
            if may_pay and any(balance.id == name for name, _ in found):  # type: ignore[attr-defined]
                drawn_at = price(hour, balance)
                if drawn_at is not None and drawn_at.credit_type_id == rate.credit_type_id and not charge_alike(drawn_at, rate):
                    own[balance.id] = drawn_at
        return own

    def _payers(
        self,
        contract: Contract,
        unit: str,
        hour: int,
        product: Product | None,
        pricing: tuple[tuple[str, str | None], ...],
        shown: tuple[tuple[str, str | None], ...],
    ) -> list[tuple[str, str]]:
        return [
            (balance.id, segment.id)
            for balance in self.config.balances
            for segment in balance.segments
            if of_unit(balance, unit, product) and segment.starting_hour <= hour < segment.ending_hour
            if pays(balance, contract, product and tagged_then(product, hour), dict(pricing), dict(shown))
        ]

    def _conversions(
        self, contract: Contract, period: tuple[int, int], custom: list[Line], fiat: str, rate: Fraction
    ) -> list[Line]:
        """For each stretch with the same payers: the rest that nobody has covered, and what postpaid commits have."""
        made: list[Line] = []
        for _, hours in groupby(range(*period), key=lambda hour: self._payers(contract, fiat, hour, None, (), ())):
            stretch = list(hours)
            rest, committed = (Line(fiat, stretch[0], stretch[-1] + 1, rate) for _ in range(2))
            committed.payable = False
            for line in (
                line for line in custom if (line.start if line.due is None else min(line.due, period[1] - 1)) in stretch
            ):
                for hour, (_, amount) in line.hours.items():
                    add(rest, hour, amount, rate)
                for payer, each in enumerate(line.paid):
                    for hour, share in line.shares(payer).items():
                        add(rest, hour, -share, rate)
                        if is_owed_later(each.balance):
                            add(committed, hour, share, rate)
            made.extend(line for line in (rest, committed) if line.units)
        return made

    def _paid(self, lines: list[Line], contract: Contract, left: dict[tuple[str, str], Fraction | int]) -> list[Line]:
        """The lines with their payments; what was paid for at another price is a line by itself."""
        for line in lines:
            line.open_units = line.units
        self._draw(lines, contract, left)
        return [part for line in lines for part in split(line)]

    def _draw(self, lines: list[Line], contract: Contract, left: dict[tuple[str, str], Fraction | int]) -> None:
        in_order = sorted(
            lines,
            key=lambda line: (
                line.product is None,
                line.due is not None,
                line.start if line.due is None else line.due,
                -line.price,
                line.product or "",
                line.start,
                line.pricing,
                [(name, value is not None, value or "") for name, value in line.presentation],
                line.level,
            ),
        )
        waiting = [(balance, segment) for balance in self.config.balances for segment in balance.segments]
        while waiting:
            balance, segment = self._next(waiting)
            waiting.remove((balance, segment))
            for line in in_order:
                product = None if line.product is None else tagged_then(self.catalog.products[line.product], line.start)
                start, end = (line.start, line.end) if line.due is None else (line.due, line.due + 1)
                fits = segment.starting_hour <= start and end <= segment.ending_hour
                fits = fits and of_unit(balance, line.unit, product) and (line.due is None or balance.access_type == "SPEND")
                if fits and pays(balance, contract, product, dict(line.pricing), dict(line.presentation)):
                    left[balance.id, segment.id] -= pay(line, balance, segment, Fraction(left[balance.id, segment.id]))

    def _next(self, waiting: list[tuple[Balance, Segment]]) -> tuple[Balance, Segment]:
        """Of several, the one that the first rule prefers; among equals, the next rule decides."""
        rules: list[Callable[[Balance, Segment], object]] = [
            lambda balance, _: ["rolled over", "PREPAID or CREDIT", "POSTPAID"].index(kind(balance)),
            lambda balance, _: 0 if kind(balance) == "rolled over" and balance.type == "POSTPAID" else 1,
            lambda balance, _: balance.priority,
            lambda balance, _: 0 if balance.cost_basis_free or kind(balance) == "rolled over" else 1,
            lambda balance, _: self._products_open_to(balance),
            lambda balance, _: group_value_specifiers(balance),
            lambda _, segment: segment.ending_hour,
            lambda balance, segment: 0 if kind(balance) == "rolled over" else segment.starting_hour,
            lambda balance, _: contracts_open_to(balance),
            lambda balance, _: balance.created_us,
            lambda balance, _: balance.id,
            lambda _, segment: segment.id,
        ]
        choice = list(waiting)
        for rule in rules:
            best = min(rule(*each) for each in choice)  # type: ignore[type-var]
            choice = [each for each in choice if rule(*each) == best]
        (chosen,) = choice
        return chosen

    def _products_open_to(self, balance: Balance) -> int:
        if not any(names_products(specifier) for specifier in (*balance.specifiers, *as_specifiers(balance))):
            return MANY
        if any(not names_products(specifier) for specifier in balance.specifiers):
            return MANY
        return sum(
            1
            for product in self.catalog.products.values()
            if any(
                of_product(specifier, tagged_then(product, hour))
                for specifier in (*balance.specifiers, *as_specifiers(balance))
                for hour in (0, *(since for since, _, _ in product.later))
            )
        )

    def _ahead(self, bill: Bill) -> int:
        """Subscriptions are charged for the period after an invoice's, too, and paid by what is open in its first hour."""
        return 1 if any(each.id == bill.contract and each.subscriptions for each in self.config.contracts) else 0

    def _rolled(self, balance: Balance, bills: Sequence[Bill]) -> dict[str, Fraction]:
        """What a rolled-over balance has got, by segment of the balance that it comes from; nothing for others."""
        if balance.rolled_over is None:
            return {}
        (old,) = [each for each in self.config.contracts if each.id == balance.rolled_over.contract_id]
        (source,) = [each for each in self.config.balances if each.id == balance.rolled_over.balance_id]
        assert old.ending_hour is not None
        rest = Fraction(balance.rolled_over.fraction) * sum(Fraction(segment.amount) for segment in source.segments)
        parts = {}
        for segment in sorted(source.segments, key=lambda segment: segment.ending_hour):
            if segment.starting_hour < old.ending_hour <= segment.ending_hour:
                left = max(granted(source, segment) - sum(bill.drawn(source, segment) for bill in bills), Fraction(0))
                parts[segment.id] = min(left, rest)
                rest -= parts[segment.id]
        return parts

    def _given(self, balance: Balance, segment: Segment, bills: Sequence[Bill], now_us: int) -> list[tuple[int, Fraction]]:
        """What has gone from a segment to balances of other contracts, and when."""
        found = []
        for other in self.config.balances:
            rolled = other.rolled_over
            if rolled is not None and rolled.balance_id == balance.id:
                (old,) = [each for each in self.config.contracts if each.id == rolled.contract_id]
                assert old.ending_hour is not None
                part = self._rolled(other, bills).get(segment.id, Fraction(0))
                if part and old.ending_hour * HOUR_US <= now_us:
                    found.append((old.ending_hour * HOUR_US, part))
        return found

    def _held(self, balance: Balance, segment: Segment, drafts: list[Bill], now_us: int) -> Held:
        prefix = {"PREPAID": "PREPAID_COMMIT", "POSTPAID": "POSTPAID_COMMIT", "CREDIT": "CREDIT"}[balance.type]
        start_us, end_us = segment.starting_hour * HOUR_US, segment.ending_hour * HOUR_US
        ledger: list[tuple[str, int, Fraction]] = []
        if start_us <= now_us:
            first = "INITIAL_BALANCE" if balance.type == "POSTPAID" else "SEGMENT_START"
            if segment.seat_increase:
                first = "SEAT_BASED_ADJUSTMENT"
            amount = Fraction(segment.amount) + sum(self._rolled(balance, [*self.final, *drafts]).values())
            ledger.append((f"{prefix}_{first}", start_us, amount))
        for entry in balance.manual_entries:
            if entry.segment_id == segment.id:
                ledger.append((f"{prefix}_MANUAL", entry.timestamp_us, Fraction(entry.amount)))
        for bill in self.final:
            if bill.drawn(balance, segment):
                kind = f"{prefix}_AUTOMATED_INVOICE_DEDUCTION"
                ledger.append((kind, bill.period[1] * HOUR_US, -bill.drawn(balance, segment)))
        for at_us, part in self._given(balance, segment, [*self.final, *drafts], now_us):
            ledger.append((f"{prefix}_ROLLOVER", at_us, -part))
        final = sum((amount for _, _, amount in ledger), Fraction(0))
        pending = sum((bill.drawn(balance, segment) for bill in drafts), Fraction(0))
        touched = [
            bill
            for bill in drafts
            if any(each.id == bill.contract and is_for(balance, each) for each in self.config.contracts)
            and set(range(bill.period[0], bill.period[1] + self._ahead(bill)))
            & set(range(segment.starting_hour, segment.ending_hour))
        ]
        if end_us <= now_us and not touched and final > 0:
            ledger.append((f"{prefix}_EXPIRATION", end_us, -final))
        if not start_us <= now_us < end_us:
            return Held(Fraction(0), Fraction(0), ledger)
        return Held(max(final - pending, Fraction(0)), max(final, Fraction(0)), ledger)


def in_unit(lines: list[Line], unit: str) -> list[Line]:
    return [line for line in lines if line.unit == unit]


def is_owed_later(balance: Balance) -> bool:
    return balance.type == "POSTPAID" and not (balance.rolled_over and balance.rolled_over.already_paid)


def kind(balance: Balance) -> str:
    if balance.rolled_over:
        return "rolled over"
    return "POSTPAID" if balance.type == "POSTPAID" else "PREPAID or CREDIT"


def of_unit(balance: Balance, unit: str, product: Product | None) -> bool:
    """Units of usage are drawn whatever they are priced in; money in its own currency only."""
    return product is not None if balance.access_type == "QUANTITY" else balance.credit_type_id == unit


def add(line: Line, hour: int, units: Fraction, rate: Fraction) -> None:
    units += line.hours.get(hour, (Fraction(0), Fraction(0)))[0]
    line.hours[hour] = (units, units * rate)


def granted(balance: Balance, segment: Segment) -> Fraction:
    return Fraction(segment.amount) + sum(
        Fraction(each.amount) for each in balance.manual_entries if each.segment_id == segment.id
    )


def slices_of(price: Callable[..., Rate | None], period: tuple[int, int]) -> list[tuple[int, int, Rate | None]]:
    slices: list[tuple[int, int, Rate | None]] = []
    for hour in range(*period):
        rate = price(hour)
        if slices and charge_alike(slices[-1][2], rate):
            slices[-1] = (slices[-1][0], hour + 1, slices[-1][2])
        else:
            slices.append((hour, hour + 1, rate))
    return slices


def charge_alike(a: Rate | None, b: Rate | None) -> bool:
    if a is None or b is None:
        return a is b
    return (a.rate_type, a.credit_type_id, tiers_of(a)) == (b.rate_type, b.credit_type_id, tiers_of(b))


def tiers_of(rate: Rate) -> list[tuple[Fraction | None, Fraction]]:
    """(size, price) of each tier."""
    if rate.rate_type == "FLAT":
        return [(None, Fraction(rate.price))]
    return [(None if tier.size is None else Fraction(tier.size), Fraction(tier.price)) for tier in rate.tiers]


def edges_of(rate: Rate) -> list[Fraction]:
    sizes = [size for size, _ in tiers_of(rate) if size is not None]
    return [sum(sizes[: count + 1], Fraction(0)) for count in range(len(sizes))]


def price_below(rate: Rate, edge: Fraction | None) -> Fraction:
    """What the last unit before an edge costs; None: the units beyond all edges."""
    level = sum(1 for each in edges_of(rate) if edge is None or each < edge)
    return tiers_of(rate)[level][1]


def fill(edges: list[Fraction], position: Fraction) -> list[Fraction]:
    """How many of the first units lie between each two edges; below zero all in the first place."""
    units: list[Fraction] = []
    for start, edge in zip([Fraction(0), *edges], [*edges, None], strict=True):
        here = position if edge is None else min(position, edge)
        units.append(max(here - start, Fraction(0)) if units else here)
    return units


def is_for(balance: Balance, contract: Contract) -> bool:
    if balance.contract_id:
        return balance.contract_id == contract.id
    return balance.applicable_contract_ids is None or contract.id in balance.applicable_contract_ids


def as_specifiers(balance: Balance) -> list[Specifier]:
    """Product and tag lists, said as specifiers."""
    by_id = [Specifier(product_id=product_id) for product_id in balance.applicable_product_ids]
    return by_id + [Specifier(product_tags=frozenset({tag})) for tag in balance.applicable_product_tags]


def names_products(specifier: Specifier) -> bool:
    return specifier.product_id is not None or bool(specifier.product_tags)


def of_product(specifier: Specifier, product: Product) -> bool:
    if specifier.product_id is not None:
        return specifier.product_id == product.id
    return all(tag in product.tags for tag in specifier.product_tags)


def pays(
    balance: Balance, contract: Contract, product: Product | None, pricing: dict[str, str | None], shown: dict[str, str | None]
) -> bool:
    if not is_for(balance, contract):
        return False
    if balance.seat is not None:
        key, seat_id = balance.seat
        if seat_id not in (pricing.get(key), shown.get(key)):
            return False
    wanted = [*balance.specifiers, *as_specifiers(balance)]
    if not wanted:
        return True
    return product is not None and any(
        of_product(each, product)
        and all(tag in product.tags for tag in each.product_tags)
        and all(pricing.get(name) == value for name, value in each.pricing_group_values)
        and all(shown.get(name) == value for name, value in each.presentation_group_values)
        for each in wanted
    )


def group_value_specifiers(balance: Balance) -> int:
    seats = 0 if balance.seat is None else 1
    if not balance.specifiers and not as_specifiers(balance) and not seats:
        return MANY
    return seats + sum(
        1
        for each in balance.specifiers
        if not names_products(each) and (each.pricing_group_values or each.presentation_group_values)
    )


def contracts_open_to(balance: Balance) -> int:
    if balance.contract_id:
        return 1
    return MANY if balance.applicable_contract_ids is None else len(balance.applicable_contract_ids)


def cut(units: Fraction) -> Fraction:
    """Rounded down to 18 fraction digits."""
    return Fraction(int(units * 10**18), 10**18)


def pay(line: Line, balance: Balance, segment: Segment, left: Fraction) -> Fraction:
    """Lets a balance with so much left pay what it can of a line; how much of it that takes."""
    covered = sum(((each.units * line.price if each.price is not None else each.amount) for each in line.paid), Fraction(0))
    finished = any(each.price is not None for each in line.paid) and line.open_units == 0 and closed(line)
    money = Fraction(0) if finished else line.amount - covered
    if left <= 0 or money < 0:
        return Fraction(0)
    price = line.prices.get(balance.id)
    if balance.access_type == "QUANTITY":
        units = min(line.open_units, left)
        if units <= 0:
            return Fraction(0)
        line.paid.append(Payment(balance, segment, money if units == line.open_units else units * line.price, units))
        line.open_units -= units
        return units
    if price is None:
        amount = min(money, left)
        if amount > 0:
            line.paid.append(Payment(balance, segment, amount))
            line.open_units = cut((money - amount) / line.price) if line.price else Fraction(0)
        return amount
    if line.open_units <= 0:
        return Fraction(0)
    if line.open_units * price <= left:
        units, amount = line.open_units, line.open_units * price
    else:
        units, amount = min(line.open_units, cut(left / price)), left
    line.paid.append(Payment(balance, segment, amount, units, price))
    line.open_units -= units
    return amount


def closed(line: Line) -> bool:
    """Whether the last units went to one who took them whole, what rounding had left over included."""
    last = line.paid[-1]
    return last.price is not None or last.balance.access_type == "QUANTITY"


def split(line: Line) -> list[Line]:
    """What was paid for at other prices takes the earliest units; the rest is a line at the line's own price."""
    others = [each for each in line.paid if each.price is not None]
    if not others:
        return [line]
    own = [each for each in line.paid if each.price is None]
    parts: list[Line] = []
    rest = {hour: units for hour, (units, _) in line.hours.items()}
    low = Fraction(0)
    for each in others:
        assert each.price is not None
        taken = between({hour: units for hour, (units, _) in line.hours.items()}, low, low + each.units)
        low += each.units
        rest = {hour: units - taken.get(hour, 0) for hour, units in rest.items()}
        hours = {hour: (units, units * each.price) for hour, units in taken.items()}
        parts.append(replace(line, price=each.price, hours=adding_up(hours, each.amount), paid=[each]))
    covered = sum((each.units * line.price for each in others), Fraction(0))
    paid = sum((each.amount for each in own), Fraction(0))
    whole = line.open_units == 0 and closed(line)
    total = paid if whole else line.amount - covered
    if sum(rest.values()) or total:
        hours = adding_up({hour: (units, units * line.price) for hour, units in rest.items()}, total)
        parts.append(replace(line, hours=hours, paid=own))
    return parts


def between(steps: dict[int, Fraction], low: Fraction, high: Fraction) -> dict[int, Fraction]:
    """The part between low and high of a running sum, by hour."""
    running = before = Fraction(0)
    found = {}
    for hour in sorted(steps):
        running += steps[hour]
        now = min(max(running, low), high) - low
        found[hour] = now - before
        before = now
    return {hour: step for hour, step in found.items() if step}


def adding_up(hours: dict[int, tuple[Fraction, Fraction]], total: Fraction) -> dict[int, tuple[Fraction, Fraction]]:
    """The last amount makes up for what rounding units has left over."""
    rest = total - sum((amount for _, amount in hours.values()), Fraction(0))
    if rest:
        last = max(hours)
        hours[last] = (hours[last][0], hours[last][1] + rest)
    return {hour: each for hour, each in hours.items() if any(each)}
