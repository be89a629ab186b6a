"""What a customer has left and owes at a moment, as the alerts on balances, segments and invoices see it.

    configuration ┐
    windows       ├─► statement (engine.invoices) ─► Figure for each alert (and segment, and invoice)
    final invoices┘

A figure exists where something is measured: a matching balance with an open or a past segment, an open segment, a draft invoice.
With every segment over, nothing is left: an amount of 0, and 0 percent.

An alert on seats has a figure for each seat that is assigned at the moment, and for no other: what a removed seat had is told as
resolved. (Balances of seats are apart from all others, see engine.balances.seats.)

A keyed alert (engine.alerts.fields) has a figure for each value of its key, and one for the alert as a whole, which is the lowest
of these: so it is past the line exactly while any value is, and it is told once, when the first value gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from engine.alerts.fields import key_of, specifiers_told, value_of
from engine.alerts.kinds import AMOUNTS, DAYS, ENDLESS, INVOICES, bills, selects
from engine.alerts.stored import StateKey, sub_key_text
from engine.balances.ledger import BalanceStatement, SegmentStatement
from engine.balances.matching import draws_by_units
from engine.balances.recurring import balance_kinds, balances_ahead, with_children
from engine.balances.rollover import rolls_over_at
from engine.balances.seats import drawn_apart, seat_changes, seats_at
from engine.catalog import AccessType, Alert, Balance, BalanceType, Contract, CustomerConfig, Seat
from engine.changes import hours_of_change
from engine.compiled import CompiledCatalog
from engine.finalization import FinalInvoices
from engine.former import FormerQuantities
from engine.invoices.coarse import CoarseUsage
from engine.invoices.items import Invoice
from engine.invoices.statement import Statement, finalize, reach_hour, statement
from engine.invoices.usage import usage_of_group, usage_of_store
from engine.invoices.voids import to_make_again
from engine.live import NEVER_US, Usage
from engine.numbers import ZERO
from engine.owed import nothing_owed, owed, owed_instants
from engine.periods import HOUR_US, Period, period_at, periods_between
from engine.rounding import quotient

DAY_US = 24 * HOUR_US

_HUNDRED = Decimal(100)
_IDS = frozenset({"commit_id", "credit_id", "contract_id"})


class Figure(NamedTuple):
    """``past``: the line is reached, by exact comparison (``value`` of a percentage or of days may be rounded).
    ``margin``: how much of the alert's credit type may be spent before it can be; None: no spend can change that.
    ``seat``: only that seat's spend can; None: any. ``may_fall``: spend may as well lower it, so that ``margin`` holds for its
    recovery, too."""

    alert: Alert
    period: Period
    group: tuple[str, ...]
    value: Decimal
    past: bool
    measure: Mapping[str, object]
    margin: Decimal | None = None
    seat: Seat | None = None
    may_fall: bool = False

    @property
    def key(self) -> StateKey:
        return StateKey(self.alert.id, self.period, sub_key_text(self.group))


Figures = Mapping[StateKey, Figure]


class Standing:
    """Makes figures for one customer under one configuration, each time from the windows as they are (engine.invoices.coarse).

    ``drawn``: the credit types in which spend can move a figure; empty for a customer that has nothing to measure.
    ``seat_keys``: the group keys by which alerts tell seats apart.
    ``unbounded``: no bound on spend bounds the figures (engine.headroom)."""

    __slots__ = (
        "_alerts",
        "_apart",
        "_by_seat",
        "_changes",
        "_coarse",
        "_compiled",
        "_config",
        "_final",
        "_grace_hours",
        "_reach_hour",
        "_reached",
        "_usage",
        "drawn",
        "seat_keys",
        "unbounded",
    )

    def __init__(
        self,
        config: CustomerConfig,
        compiled: CompiledCatalog,
        alerts: tuple[Alert, ...],
        usage: Usage,
        final: FinalInvoices,
        grace_hours: int,
    ) -> None:
        self._config = config
        self._reach_hour, self._reached = -1, config
        self._compiled = compiled
        self._alerts = _with_something_to_measure(alerts, config)
        self.drawn = frozenset(alert.credit_type_id for alert in self._alerts if alert.type not in DAYS)
        self.seat_keys = frozenset(alert.seat_filter[0] for alert in self._alerts if alert.seat_filter is not None)
        self._apart: frozenset[str] = frozenset()
        self._by_seat: dict[Seat, tuple[Balance, ...]] = {}
        composite = any(compiled.composites(contract) for contract in config.contracts)
        self.unbounded = bool(self.drawn) and (composite or draws_by_units(config))
        if self.unbounded:
            books = [compiled.contract_book(contract) for contract in config.contracts]
            self.drawn = self.drawn.union(*(book.credit_types for book in books if book is not None))
        self._usage = usage
        self._final = final
        self._grace_hours = grace_hours
        self._coarse = CoarseUsage()
        self._changes: frozenset[int] | None = None

    def at(self, now_us: int, former: FormerQuantities | None = None, seat: Seat | None = None) -> Callable[[], Figures]:
        """What makes the figures at an instant, with the invoices that are final at the time of this call.
        ``former``: without this event. ``seat``: those of one seat only, which has a headroom of its own."""
        finalized = self._final.all() if self._alerts else ()

        def make() -> Figures:
            if not self._alerts:
                return {}
            apart_hour = None if former is None else former.hour
            usage = self._coarse.usage(*self._usage, self._cuts(now_us // HOUR_US, finalized), apart_hour)
            if former is not None:
                usage = former.taken_from(usage)
            config, alerts = self._with_children(now_us // HOUR_US), self._alerts
            if seat is not None:
                config = replace(config, balances=self._by_seat.get(seat, ()))
                usage = usage_of_group(usage, self._compiled.catalog.metrics, *seat)
                alerts = tuple(alert for alert in alerts if alert.seat_filter is not None and alert.credit_type_id in self._apart)
            made = statement(config, self._compiled, usage, now_us=now_us, grace_hours=self._grace_hours, finalized=finalized)
            return figures(alerts, self._config, made, now_us, self._grace_hours, self._apart)

        return make

    def _with_children(self, now_hour: int) -> CustomerConfig:
        """The configuration with what its recurring commits and credits make; made once in a billing period."""
        hour = reach_hour(self._config, now_hour)
        if hour != self._reach_hour:
            reached = with_children(self._config, hour, self._drawing_from(now_hour))
            self._reach_hour, self._reached, self._changes = hour, reached, None
            if self.seat_keys:
                self._apart = drawn_apart(self._reached.balances, self._compiled.catalog.products)
                by_seat: dict[Seat, list[Balance]] = {}
                for balance in self._reached.balances:
                    if balance.seat is not None:
                        by_seat.setdefault(balance.seat, []).append(balance)
                self._by_seat = {seat: tuple(balances) for seat, balances in by_seat.items()}
        return self._reached

    def _drawing_from(self, now_hour: int) -> int:
        """What was over by this hour pays nothing on a draft; nor just before it, when the last grace period was not over yet."""
        graced = now_hour - self._grace_hours - 1
        periods = (period_at(each.schedule, each.starting_hour, each.ending_hour, graced) for each in self._config.contracts)
        return min((period.starting_hour for period in periods if period is not None), default=graced)

    def _cuts(self, now_hour: int, finalized: Iterable[Invoice]) -> set[int]:
        """The hours at which a line, or what pays for it, can begin or end."""
        config = self._with_children(now_hour)
        if self._changes is None:
            cards = frozenset(contract.rate_card_id for contract in config.contracts)
            listed = (hour for card in cards for hour in self._compiled.hours_of_change(card))
            self._changes = frozenset([*listed, *hours_of_change((*config.contracts, *config.balances))])
        cuts = {*self._changes, *(invoice.period.ending_hour for invoice in finalized)}
        for contract in config.contracts:
            span = contract.starting_hour, contract.ending_hour, now_hour - self._grace_hours, now_hour + 1
            for period in periods_between(contract.schedule, *span):
                cuts.update(period)
        return cuts

    def exact_at(self, now_us: int) -> bool:
        """Whether the figures are to be made after every event: no bound on spend bounds them, as late usage may change what is
        rolled over, too."""
        return self.unbounded or rolls_over_at(self._config, now_us // HOUR_US, self._grace_hours)

    def next_instant_us(self, after_us: int) -> int:
        """See ``next_instant``; NEVER_US if there is none."""
        instant = next_instant(self._alerts, self._config, after_us)
        if any(alert.type in INVOICES for alert in self._alerts):
            config = self._with_children(after_us // HOUR_US)
            instants = owed_instants(self._alerts, config, after_us, self._grace_hours)
            instant = min((each for each in (*instants, instant or NEVER_US) if each > after_us), default=None)
        return NEVER_US if instant is None else instant

    def makes_again(self) -> bool:
        """Whether an invoice is to be made in the place of a voided one."""
        return bool(self._config.regenerated) and bool(to_make_again(self._config, self._final.all()))

    def finalize(self, now_us: int, from_hour: int) -> dict[str, str]:
        """Makes and keeps the invoices of periods that ended after ``from_hour`` and are final now; the fields to store."""
        return self._final.add(
            finalize(
                self._config,
                self._compiled,
                usage_of_store(*self._usage),
                now_us=now_us,
                grace_hours=self._grace_hours,
                finalized=self._final.all(),
                from_hour=from_hour,
            )
        )


def margins(figures: Figures) -> Iterator[tuple[str, Seat | None, Decimal]]:
    """The margins of figures that spend can take over their line, with their credit type and seat."""
    for figure in figures.values():
        if figure.margin is not None and (figure.may_fall or not figure.past):
            yield figure.alert.credit_type_id, figure.seat, figure.margin


def figures(
    alerts: Iterable[Alert],
    config: CustomerConfig,
    statement: Statement,
    now_us: int,
    grace_hours: int,
    apart: frozenset[str] = frozenset(),
) -> Figures:
    """All figures at ``now_us``, for which the statement was made. ``apart``: see engine.balances.seats.drawn_apart."""
    contracts = {contract.id: contract for contract in config.contracts}
    found: list[Figure] = []
    for alike in _alike(alerts):
        first = alike[0]
        if first.type in INVOICES:
            found.extend(each for alert in alike for each in _invoices(alert, config, statement, now_us, grace_hours))
            continue
        matching = [each for each in statement.balances if selects(first, each.balance, contracts)]
        if first.type in DAYS:
            found.extend(figure for alert in alike for figure in _segments(alert, matching, now_us))
        elif first.seat_filter is not None:
            assigned = seats_at(config.contracts, first.seat_filter[0], now_us // HOUR_US)
            found += _seats(alike, matching, assigned, now_us, apart=first.credit_type_id in apart)
        elif key_of(first) is not None:
            found += _keyed(alike, matching, contracts, now_us)
        else:
            found += _balances(alike, (), matching, now_us)
    return {figure.key: figure for figure in found}


def _alike(alerts: Iterable[Alert]) -> Iterable[list[Alert]]:
    """The alerts, those that select the same balances together: what is left is added up once for all of their thresholds. (All
    alerts on seats of one key are alike, whichever seat they name.)"""
    groups: dict[tuple[object, ...], list[Alert]] = {}
    for alert in alerts:
        unit = alert.access_type, alert.credit_type_id
        seat_key = None if alert.seat_filter is None else alert.seat_filter[0]
        groups.setdefault((alert.type, *unit, alert.custom_field_filters, alert.specifiers, seat_key), []).append(alert)
    return groups.values()


def _with_something_to_measure(alerts: Iterable[Alert], config: CustomerConfig) -> tuple[Alert, ...]:
    contracts = {contract.id: contract for contract in config.contracts}
    balances = [balance for balance in balance_kinds(config) if not balance.archived]
    found: list[Alert] = []
    for alike in _alike(alerts):
        if alike[0].type in INVOICES:
            wanted = any(bills(alike[0], contract) for contract in config.contracts)
        else:
            wanted = any(selects(alike[0], balance, contracts) for balance in balances)
        if wanted:
            found += alike
    return tuple(found)


def _keyed(
    alike: list[Alert], matching: list[BalanceStatement], contracts: Mapping[str, Contract], now_us: int
) -> Iterator[Figure]:
    """The figures of each of the alerts for every value of their key, and its lowest for the alert as a whole."""
    key = key_of(alike[0])
    assert key is not None
    by_value: dict[str, list[BalanceStatement]] = {}
    for each in matching:
        value = value_of(key, each.balance, contracts)
        if value is not None:  # one with another specifier's fields alone is not told apart by this key
            by_value.setdefault(value, []).append(each)
    lowest: dict[str, Figure] = {}
    for value, group in sorted(by_value.items()):
        for figure in _balances(alike, (value,), group, now_us):
            yield figure
            least = lowest.get(figure.alert.id)
            if least is None or (not figure.past, figure.value) < (not least.past, least.value):
                lowest[figure.alert.id] = figure
    for least in lowest.values():
        measure = {name: told for name, told in least.measure.items() if name not in _IDS}
        yield least._replace(group=(), measure={**measure, **_specified(least.alert, ())})


def _balances(alike: list[Alert], group: tuple[str, ...], matching: list[BalanceStatement], now_us: int) -> Iterator[Figure]:
    """The figure of each of the alerts; none before a segment of any of the balances has begun."""
    measured = [each for each in matching if any(_has_begun(part, now_us) for part in each.segments)]
    if not measured:
        return
    left = sum((each.remaining for each in measured), ZERO)
    granted = sum((each.granted for each in measured), ZERO)
    in_money = alike[0].access_type is AccessType.SPEND
    measure: dict[str, object] = {**_unit(alike[0]), "remaining_balance": left, **_whose(measured)}
    measure |= _specified(alike[0], group)
    if alike[0].type in AMOUNTS:
        for alert in alike:
            margin = left - alert.threshold
            yield Figure(alert, ENDLESS, group, left, margin <= 0, measure, margin if in_money else None)
        return
    percentage = quotient(left * _HUNDRED, granted) if granted else _HUNDRED if left else ZERO
    measure |= {"remaining_percentage": percentage, "granted": granted}
    for alert in alike:
        margin = left - granted * alert.threshold / 100
        yield Figure(alert, ENDLESS, group, percentage, margin <= 0, measure, margin if in_money else None)


def _unit(alert: Alert) -> dict[str, object]:
    """What an alert's amounts are of."""
    return {"access_type": "QUANTITY"} if alert.access_type is AccessType.QUANTITY else {"credit_type_id": alert.credit_type_id}


def _seats(
    alike: list[Alert], matching: list[BalanceStatement], assigned: frozenset[str], now_us: int, *, apart: bool
) -> Iterator[Figure]:
    """The figures of each seat that is assigned; none before a segment of any of its balances has begun."""
    by_seat: dict[Seat, list[BalanceStatement]] = {}
    for each in matching:
        seat = each.balance.seat
        if seat is not None and seat[1] in assigned and any(_has_begun(part, now_us) for part in each.segments):
            by_seat.setdefault(seat, []).append(each)
    for_all, by_id = _by_seat_id(alike)
    for seat, measured in sorted(by_seat.items()):
        left = sum((each.remaining for each in measured), ZERO)
        measure = _seat_measure(alike[0], seat[1], left)
        for alert in (*for_all, *by_id.get(seat[1], ())):
            margin = left - alert.threshold
            told = margin if alert.access_type is AccessType.SPEND else None
            yield Figure(alert, ENDLESS, (seat[1],), left, margin <= 0, measure, told, seat if apart else None)


def _by_seat_id(alerts: Iterable[Alert]) -> tuple[list[Alert], dict[str, list[Alert]]]:
    """The alerts on every seat, and those on a single one by its id."""
    for_all: list[Alert] = []
    by_id: dict[str, list[Alert]] = {}
    for alert in alerts:
        assert alert.seat_filter is not None
        seat_id = alert.seat_filter[1]
        (for_all if seat_id is None else by_id.setdefault(seat_id, [])).append(alert)
    return for_all, by_id


def _seat_measure(alert: Alert, seat_id: str, left: Decimal) -> dict[str, object]:
    """The seat's id goes under both names that are in use: that of requests, and that of the notifications seen."""
    assert alert.seat_filter is not None
    seat = {"seat_group_key": alert.seat_filter[0], "seat_group_value": seat_id, "value": seat_id}
    return {**_unit(alert), "remaining_balance": left, "seat_filter": seat}


def _has_begun(part: SegmentStatement, now_us: int) -> bool:
    return part.segment.starting_hour * HOUR_US <= now_us


def _specified(alert: Alert, group: tuple[str, ...]) -> dict[str, object]:
    return {"alert_specifiers": specifiers_told(alert, group)} if alert.specifiers else {}


def _whose(measured: list[BalanceStatement]) -> dict[str, object]:
    """Which commit or credit, and which contract, where there is exactly one; those with an open segment first."""
    balances = [each.balance for each in measured if any(part.is_open for part in each.segments)] or [
        each.balance for each in measured
    ]
    named: dict[str, object] = _named(balances[0]) if len(balances) == 1 else {}
    contract_ids = {balance.contract_id for balance in balances}
    if len(contract_ids) == 1 and None not in contract_ids:
        named["contract_id"] = contract_ids.pop()
    return named


def _named(balance: Balance) -> dict[str, object]:
    return {"credit_id" if balance.type is BalanceType.CREDIT else "commit_id": balance.id}


def _segments(alert: Alert, matching: list[BalanceStatement], now_us: int) -> Iterator[Figure]:
    for each in matching:
        for part in each.segments:
            end_us = part.segment.ending_hour * HOUR_US
            if not part.segment.starting_hour * HOUR_US <= now_us < end_us:
                continue
            days = quotient(Decimal(end_us - now_us), Decimal(DAY_US))
            measure = {
                "remaining_days": days,
                **_whose([each]),
                "segment_id": part.segment.id,
                "segment_ending_before_us": end_us,
            }
            yield Figure(
                alert, ENDLESS, (part.segment.id,), days, now_us >= _reached_us(alert, part.segment.ending_hour), measure
            )


def _reached_us(alert: Alert, ending_hour: int) -> int:
    """The instant from which at most the alert's days are left."""
    return ending_hour * HOUR_US - int(alert.threshold * DAY_US)


def _invoices(alert: Alert, config: CustomerConfig, statement: Statement, now_us: int, grace_hours: int) -> Iterator[Figure]:
    for each in owed(alert, config, statement, now_us, grace_hours):
        margin = alert.threshold - each.value
        room = abs(margin) if each.may_fall else margin
        yield Figure(alert, each.period, each.group, each.value, margin <= 0, each.measure, room, may_fall=each.may_fall)


def gone(alert: Alert, group: tuple[str, ...]) -> dict[str, object]:
    """What is told of something that is no longer measured: a segment that is over, an invoice that is final, balances that were
    archived, a seat that was removed. Its value is 0."""
    if alert.type in INVOICES:
        return nothing_owed(alert, group)
    if alert.type in DAYS:
        return {"remaining_days": ZERO, "segment_id": group[0]}
    if alert.seat_filter is not None:
        return _seat_measure(alert, group[0], ZERO)
    measure: dict[str, object] = {**_unit(alert), "remaining_balance": ZERO, **_specified(alert, group)}
    return measure if alert.type in AMOUNTS else {**measure, "remaining_percentage": ZERO, "granted": ZERO}


def next_instant(alerts: Iterable[Alert], config: CustomerConfig, after_us: int) -> int | None:
    """The next instant after ``after_us`` at which time alone changes a figure of these alerts: a segment begins, ends, or has
    only an alert's days left; a seat is assigned or removed; a postpaid commit is trued up. (Billing periods change figures, too;
    those are frames' boundaries.) None: there is none."""
    contracts = {contract.id: contract for contract in config.contracts}
    instants: set[int] = set()
    balances = balances_ahead(config, after_us)
    for alike in _alike(alert for alert in alerts if alert.type not in INVOICES):
        seat_filter = alike[0].seat_filter
        if seat_filter is not None:
            instants.update(hour * HOUR_US for hour in seat_changes(config.contracts, seat_filter[0]))
        for balance in balances:
            if balance.archived or not selects(alike[0], balance, contracts):
                continue
            for segment in balance.segments:
                instants.update((segment.starting_hour * HOUR_US, segment.ending_hour * HOUR_US))
                if alike[0].type in DAYS:
                    instants.update(_reached_us(alert, segment.ending_hour) for alert in alike)
            if balance.type is BalanceType.POSTPAID:
                instants.update(item.timestamp_us for item in balance.invoice_items)
    return min((instant for instant in instants if instant > after_us), default=None)
