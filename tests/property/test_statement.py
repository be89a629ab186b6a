"""Invoices, balances and ledgers against a recomputation from the raw events that shares no code with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import (
    USD_CENTS,
    AccessType,
    Aggregation,
    Alert,
    AlertType,
    Balance,
    BalanceType,
    BillingSchedule,
    Catalog,
    CommitRate,
    Contract,
    CustomerConfig,
    Frequency,
    ManualEntry,
    Override,
    OverrideType,
    OverwriteRate,
    ProductState,
    RateTarget,
    RateType,
    RolledOver,
    Segment,
    Specifier,
    Tier,
    UsageFilter,
)
from engine.compiled import CompiledCatalog
from engine.effects import Rejection, UsageEvent
from engine.invoices.breakdown import WindowSize, breakdowns
from engine.invoices.codec import as_stored, decode_invoices, encode_invoice, invoice_field
from engine.invoices.items import Invoice, ItemType, LineItem
from engine.invoices.statement import Statement, finalize, statement
from engine.invoices.usage import HourlyUsage, usage_of_store
from engine.metering.codec import Reading
from engine.metering.series import SeriesKey, series_field
from engine.metering.windows import WindowStore
from engine.numbers import ZERO, exact
from tests.strategies import FIRST_HOUR, HOUR_US, NOW_US, Step, catalogs, streams
from tests.support.recomputed import spend
from tests.support.recomputed_invoice import Accounts, Bill, Line

BOUNDED = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WEEK = 7 * 24
BOUNDARY = FIRST_HOUR + 5 * WEEK  # the end of the week in which usage begins
TAGS = ("compute", "storage")
COMMIT_RATES = (
    None,
    CommitRate(RateType.FLAT, Decimal("0.3")),
    CommitRate(RateType.FLAT, Decimal(3)),
    CommitRate(RateType.TIERED, tiers=(Tier(Decimal("2.5"), Decimal("1.1")), Tier(Decimal(3), ZERO), Tier(None, Decimal("0.7")))),
)


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def specifiers(draw: st.DrawFn) -> Specifier:
    return draw(
        st.sampled_from(
            [
                Specifier(product_id="p0"),
                Specifier(product_tags=frozenset({"compute"})),
                Specifier(product_tags=frozenset(TAGS)),
                Specifier(pricing_group_values=(("region", "eu"),)),
                Specifier(product_id="p1", pricing_group_values=(("region", "eu"),)),
                Specifier(presentation_group_values=(("model", "x"),)),
                Specifier(product_tags=frozenset({"storage"}), presentation_group_values=(("model", "y"),)),
            ]
        )
    )


@st.composite
def balances(draw: st.DrawFn, name: str) -> Balance:
    anywhere = st.sets(st.sampled_from([-200, -60, -31, -30, -29, -8, 0, 1, 30, 160, 400]), min_size=2, max_size=3)
    edges = sorted(draw(st.one_of(st.sampled_from([(-200, 400), (-200, -29, 400), (-200, 0, 400)]), anywhere)))
    amounts = st.sampled_from([Decimal(text) for text in ("4", "2.5", "1", "7.25", "20", "100", "0")])
    segments = tuple(
        Segment(f"{name}s{number}", BOUNDARY + start, BOUNDARY + end, draw(amounts))
        for number, (start, end) in enumerate(pairwise(edges))
    )
    kind = draw(st.sampled_from([BalanceType.CREDIT, BalanceType.POSTPAID, *BalanceType]))
    restrictions = draw(st.sampled_from(["none", "none", "none", "products", "tags", "specifiers", "mixed"]))
    entries = [
        ManualEntry(
            draw(st.sampled_from(segments)).id, Decimal(amount), (BOUNDARY + draw(st.integers(-50, 50))) * HOUR_US, "by hand"
        )
        for amount in draw(st.lists(st.sampled_from(["3", "-1.5", "-9", "-120"]), max_size=2))
    ]
    own = draw(st.sampled_from([None, None, None, "c0", "c1"]))
    return Balance(
        id=name,
        type=kind,
        product_id="fixed",
        segments=segments,
        credit_type_id=draw(st.sampled_from([USD_CENTS, "credits"])),
        priority=Decimal(draw(st.sampled_from([0, 1]))),
        contract_id=own,
        applicable_contract_ids=None if own else draw(st.sampled_from([None, None, frozenset({"c0"}), frozenset({"c0", "c1"})])),
        applicable_product_ids=frozenset({"p0"}) if restrictions in ("products", "mixed") else frozenset(),
        applicable_product_tags=frozenset({"compute"}) if restrictions in ("tags", "mixed") else frozenset(),
        specifiers=tuple(draw(st.lists(specifiers(), min_size=1, max_size=2))) if restrictions in ("specifiers", "mixed") else (),
        cost_basis_free=draw(st.booleans()),
        manual_entries=tuple(entries),
        created_us=draw(st.integers(0, 2)),
        seat=draw(st.sampled_from([None, None, None, ("region", "eu"), ("model", "x"), ("model", "y")])),
        access_type=draw(st.sampled_from([AccessType.SPEND, AccessType.SPEND, AccessType.SPEND, AccessType.QUANTITY])),
        rate_type=draw(st.sampled_from([RateTarget.LIST_RATE, RateTarget.COMMIT_RATE])),
        recurring_id=draw(st.sampled_from([None, None, "r0"])),
    )


@st.composite
def overrides(draw: st.DrawFn, name: str) -> Override:
    """Of a price; most of them for what balances draw."""
    for_commits = draw(st.sampled_from([True, True, False]))
    start = draw(st.sampled_from([-200, -200, -31, 0]))
    factor, price = draw(st.sampled_from(["0.5", "0.9", "0", "1.7"])), draw(st.sampled_from(["1", "0.3", "7"]))
    made = Override(name, BOUNDARY + start, draw(st.sampled_from([None, None, BOUNDARY + 10])))
    if draw(st.booleans()):
        made = replace(made, type=OverrideType.MULTIPLIER, multiplier=Decimal(factor))
    else:
        unit = draw(st.sampled_from([USD_CENTS, USD_CENTS, "credits"]))
        made = replace(made, type=OverrideType.OVERWRITE, overwrite_rate=OverwriteRate(RateType.FLAT, Decimal(price), (), unit))
    about = list(draw(st.lists(specifiers(), max_size=2)))
    if not for_commits:
        return replace(made, specifiers=tuple(about), entitled=draw(st.sampled_from([None, None, None, False])))
    for place, each in enumerate(about):
        ids = frozenset(draw(st.sets(st.sampled_from(["b0", "b1", "b2"]), max_size=2)))
        about[place] = replace(each, balance_ids=ids, recurring_ids=frozenset(draw(st.sets(st.just("r0")))))
    target = draw(st.sampled_from([RateTarget.LIST_RATE, RateTarget.COMMIT_RATE]))
    return replace(made, specifiers=tuple(about), for_commits=True, target=target)


@st.composite
def customers(draw: st.DrawFn) -> CustomerConfig:
    """One or two weekly contracts whose weeks end at different hours, and up to five balances."""
    filters = [(), (), (), (UsageFilter("region", frozenset({"eu"}), BOUNDARY - 20),)]
    contracts = []
    for number in range(draw(st.sampled_from([2, 2, 1]))):
        start = FIRST_HOUR + number * draw(st.sampled_from([24, 0, WEEK * 4 + 3]))
        schedule = BillingSchedule(Frequency.WEEKLY, start * HOUR_US)
        ending = draw(st.sampled_from([None, None, None, BOUNDARY - 20]))
        changes = tuple(draw(overrides(f"o{count}")) for count in range(draw(st.sampled_from([0, 0, 1, 3]))))
        of_contract = Contract(f"c{number}", "card", start, ending, schedule, overrides=changes)
        contracts.append(replace(of_contract, usage_filters=draw(st.sampled_from(filters))))
    held = tuple(draw(balances(f"b{number}")) for number in range(draw(st.sampled_from([2, 3, 5]))))
    config = CustomerConfig("customer", 1, tuple(contracts), balances=held)
    return draw(renewed(config)) if len(contracts) > 1 and draw(st.booleans()) else config


@st.composite
def renewed(draw: st.DrawFn, config: CustomerConfig) -> CustomerConfig:
    """The second contract renews the first: one more balance comes from the first one's first balance."""
    old, new = config.contracts
    ended, gap = BOUNDARY + draw(st.sampled_from([-40, -30, -29, 0])), draw(st.sampled_from([0, 0, 2]))
    schedule = BillingSchedule(Frequency.WEEKLY, (ended + gap) * HOUR_US)
    contracts = (
        replace(old, ending_hour=ended),
        replace(new, starting_hour=ended + gap, schedule=schedule, ending_hour=None, overrides=(), usage_filters=()),
    )
    source = replace(config.balances[0], contract_id="c0", applicable_contract_ids=None)
    rolled = RolledOver(source.id, "c0", Decimal(draw(st.sampled_from(["1", "0.1", "0.5"]))), draw(st.booleans()))
    over = Segment("over-s", ended + gap, BOUNDARY + draw(st.sampled_from([20, 400])), ZERO)
    entries = tuple(replace(each, segment_id="over-s") for each in source.manual_entries if draw(st.booleans()))
    more = replace(source, id="over", contract_id="c1", segments=(over,), manual_entries=entries, rolled_over=rolled)
    return replace(config, contracts=contracts, balances=(source, *config.balances[1:], more))


@st.composite
def priced(draw: st.DrawFn) -> Catalog:
    """Products with tags, credits that convert or not, and often another price where most of the usage is."""
    catalog = draw(catalogs())
    rows = catalog.rate_cards["card"].rates
    if draw(st.booleans()):
        tiers = (Tier(Decimal(4), Decimal(2)), Tier(None, Decimal("0.5")))
        rows += tuple(replace(row, rate_type=RateType.TIERED, starting_hour=BOUNDARY - 29, tiers=tiers) for row in rows)
    if draw(st.booleans()):
        rows = tuple(replace(row, commit_rate=draw(st.sampled_from(COMMIT_RATES))) for row in rows)
    tags = st.sets(st.sampled_from(TAGS)).map(frozenset)
    later = st.lists(st.tuples(st.sampled_from([BOUNDARY - 40, BOUNDARY - 29, BOUNDARY, BOUNDARY + 5]), tags), max_size=2)
    tagged = {}
    for product in catalog.products.values():
        states = sorted(dict(draw(later)).items()) if draw(st.booleans()) else []
        changes = tuple(ProductState(hour, product.name, of_state) for hour, of_state in states)
        tagged[product.id] = replace(product, tags=draw(tags), later=changes)
    conversions = draw(st.sampled_from([(("credits", Decimal("0.4")),), (("credits", Decimal(3)),), ()]))
    cards = {"card": replace(catalog.rate_cards["card"], rates=rows, conversions=conversions)}
    return replace(catalog, products=tagged, rate_cards=cards, alerts=())


def distinct(steps: list[Step]) -> list[Step]:
    """No two events at the same microsecond: a last reading among several groups would depend on which comes first."""
    moved = [step.event._replace(timestamp_us=step.event.timestamp_us + number) for number, step in enumerate(steps)]
    return [Step(event, step.now_us) for event, step in zip(moved, steps, strict=True)]


def usage_of(compiled: CompiledCatalog, events: list[UsageEvent]) -> HourlyUsage:
    windows = WindowStore()
    for event in events:
        for matcher in compiled.matchers_for(event.event_type):
            value = matcher.value(event.properties)
            if value is None:
                continue
            assert not isinstance(value, Rejection)
            metric = matcher.metric
            keys = [SeriesKey(metric.id)]
            keys += [SeriesKey(metric.id, dimension, values) for dimension, values in enumerate(matcher.groups(event.properties))]
            for key in keys:
                latest = metric.aggregation is Aggregation.LATEST
                quantity = Reading(event.timestamp_us, event.offset, value) if latest else value  # type: ignore[arg-type]
                windows.get(series_field(key), metric.aggregation).add(*divmod(event.hour, 24), quantity)  # type: ignore[arg-type]
    return usage_of_store(windows, {})


def plain(item: LineItem) -> tuple[object, ...]:
    """One line as the recomputation has it, without what paid it."""
    return (
        item.credit_type_id,
        item.starting_hour,
        item.ending_hour,
        Fraction(item.unit_price or 0),
        item.product_id,
        item.pricing_group_values,
        item.presentation_group_values,
        0 if item.tier is None else item.tier.level - 1,
        tuple((hour, Fraction(units), Fraction(amount)) for hour, units, amount in item.increments),
        Fraction(item.quantity or 0),
        Fraction(item.total),
    )


def recomputed(line: Line) -> tuple[object, ...]:
    hours = tuple((hour, *line.hours[hour]) for hour in sorted(line.hours) if line.hours[hour][0])
    where = (line.unit, line.start, line.end, line.price, line.product, line.pricing, line.presentation, line.level)
    return (*where, hours, line.units, line.amount)


def payments(line: Line) -> list[tuple[object, ...]]:
    where = (line.start, line.end, line.product, line.pricing, line.presentation)
    return [
        (
            *where,
            (each.balance.id, each.segment.id, -each.amount, each.units if each.price is None else 0),
            tuple((hour, -share) for hour, share in sorted(line.shares(payer).items())),
        )
        for payer, each in enumerate(line.paid)
        if each.amount or each.price is None  # at a price of its own of 0 nothing is paid
    ]


def payment(item: LineItem) -> tuple[object, ...]:
    where = (item.starting_hour, item.ending_hour, item.product_id, item.pricing_group_values, item.presentation_group_values)
    assert sum((units for _, units, _ in item.increments), ZERO) == (item.quantity or ZERO)
    hours = tuple((hour, Fraction(amount)) for hour, _, amount in item.increments if amount)
    return (*where, (item.balance_id, item.segment_id, Fraction(item.total), Fraction(item.quantity or 0)), hours)


def assert_same(invoice: Invoice, bill: Bill) -> None:
    assert (invoice.contract_id, invoice.period) == (bill.contract, bill.period)
    items = [item for item in invoice.line_items if item.type is not ItemType.APPLIED]
    applied = [item for item in invoice.line_items if item.type is ItemType.APPLIED]
    assert Counter(map(plain, items)) == Counter(map(recomputed, bill.lines))
    assert Counter(map(payment, applied)) == Counter(each for line in bill.lines for each in payments(line))
    assert Fraction(invoice.total) == bill.total


def assert_breakdowns_add_up(invoice: Invoice) -> None:
    for window in WindowSize:
        parts = [each.invoice for each in breakdowns(invoice, window, 0, 10**9)]
        assert sum((part.total for part in parts), ZERO) == invoice.total
        sums: Counter[tuple[object, ...]] = Counter()
        for item in (item for part in parts for item in part.line_items):
            sums[_identity(item)] += item.total  # type: ignore[assignment]
        whole: Counter[tuple[object, ...]] = Counter()
        for item in invoice.line_items:
            whole[_identity(item)] += item.total  # type: ignore[assignment]
        assert {key: total for key, total in sums.items() if total} == {key: total for key, total in whole.items() if total}


def _identity(item: LineItem) -> tuple[object, ...]:
    """An item of an invoice, whatever its amounts."""
    paid_by = (item.balance_id, item.segment_id) if item.type is ItemType.APPLIED else ()
    return (
        replace(item, total=ZERO, quantity=None, increments=(), balance_id=None, segment_id=None, balance_type=None),
        *paid_by,
    )


class Books:
    """The engine's side: what is stored goes through its text."""

    def __init__(self, catalog: Catalog, config: CustomerConfig, grace_hours: int) -> None:
        self.compiled = CompiledCatalog(catalog)
        self.config = config
        self.grace_hours = grace_hours
        self.events: list[UsageEvent] = []
        self.state: dict[str, str] = {}

    def finalize(self, now_us: int) -> list[Invoice]:
        made = finalize(
            self.config,
            self.compiled,
            usage_of(self.compiled, self.events),
            now_us=now_us,
            grace_hours=self.grace_hours,
            finalized=decode_invoices(self.state),
            from_hour=0,
        )
        self.state.update({invoice_field(invoice): encode_invoice(invoice) for invoice in made})
        return made

    def look(self, now_us: int) -> Statement:
        usage = usage_of(self.compiled, self.events)
        final = decode_invoices(self.state)
        return statement(self.config, self.compiled, usage, now_us=now_us, grace_hours=self.grace_hours, finalized=final)


@BOUNDED
@given(catalog=priced(), config=customers(), steps=streams(10), grace_hours=st.sampled_from([24, 0, 48]))
def test_invoices_and_ledgers_are_what_recomputing_everything_gives(
    catalog: Catalog, config: CustomerConfig, steps: list[Step], grace_hours: int
) -> None:
    books, accounts = Books(catalog, config, grace_hours), Accounts(catalog, config, grace_hours)
    steps = distinct(steps)
    moments = [step.now_us for step in steps] + [steps[-1].now_us + hours * HOUR_US for hours in (40, 500)]
    for number, now_us in enumerate(moments):
        made = books.finalize(now_us)
        before = len(accounts.final)
        accounts.finalize(now_us // HOUR_US)
        for invoice, bill in zip(made, accounts.final[before:], strict=True):
            assert_same(invoice, bill)
        if number < len(steps):
            books.events.append(steps[number].event)
            accounts.events.append(steps[number].event)
        if number % 3 == 0 or number >= len(steps) - 1:
            assert_agree(books.look(now_us), accounts, now_us)


def assert_agree(seen: Statement, accounts: Accounts, now_us: int) -> None:
    drafts, held = accounts.look(now_us)
    for invoice, bill in zip(seen.drafts, drafts, strict=True):
        assert_same(invoice, bill)
        assert_breakdowns_add_up(invoice)
    for each in seen.balances:
        for segment in each.segments:
            mine = held[each.balance.id, segment.segment.id]
            assert Fraction(segment.remaining) == mine.remaining
            assert Fraction(segment.remaining_finalized) == mine.remaining_finalized
            entries = [entry for entry in each.ledger if entry.segment_id == segment.segment.id]
            assert Counter((entry.type, entry.timestamp_us, Fraction(entry.amount)) for entry in entries) == Counter(mine.ledger)
            if segment.is_open:
                assert segment.remaining_finalized == max(sum((entry.amount for entry in entries), ZERO), ZERO)
        assert list(each.ledger) == sorted(each.ledger, key=lambda entry: entry.timestamp_us)


@BOUNDED
@given(catalog=priced(), config=customers(), steps=streams(), order=st.randoms(use_true_random=False))
def test_the_order_of_events_within_an_hour_does_not_matter(
    catalog: Catalog, config: CustomerConfig, steps: list[Step], order: object
) -> None:
    events = [step.event for step in distinct(steps)]
    shuffled = list(events)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    shuffled.sort(key=lambda event: event.hour)
    one, other = Books(catalog, config, 24), Books(catalog, config, 24)
    one.events, other.events = events, shuffled
    assert one.look(NOW_US + 40 * HOUR_US) == other.look(NOW_US + 40 * HOUR_US)


@BOUNDED
@given(catalog=priced(), config=customers(), steps=streams())
def test_nothing_is_paid_twice_and_no_segment_pays_more_than_it_has(
    catalog: Catalog, config: CustomerConfig, steps: list[Step]
) -> None:
    books = Books(catalog, config, 24)
    books.events = [step.event for step in distinct(steps)]
    seen = books.look(steps[-1].now_us)
    for invoice in seen.drafts:
        unpaid: Decimal | None = None
        for item in invoice.line_items:
            if item.type is ItemType.APPLIED:
                assert item.total < 0 or item.quantity
                assert unpaid is not None
                unpaid += item.total
                assert unpaid >= 0
            else:
                unpaid = item.total
    for each in seen.balances:
        for segment in each.segments:
            assert segment.draft <= max(segment.segment.amount + segment.manual - segment.finalized, ZERO)


@BOUNDED
@given(catalog=priced(), config=customers(), steps=streams())
def test_a_final_invoice_is_read_back_as_it_was_by_days(catalog: Catalog, config: CustomerConfig, steps: list[Step]) -> None:
    books = Books(catalog, config, 0)
    books.events = [step.event for step in distinct(steps)]
    made = books.finalize(steps[-1].now_us + WEEK * HOUR_US)
    assert decode_invoices(books.state) == [as_stored(invoice) for invoice in made]
    for invoice in made:
        by_day = [as_stored(each.invoice) for each in breakdowns(invoice, WindowSize.DAY, 0, 10**9)]
        assert [each.invoice for each in breakdowns(as_stored(invoice), WindowSize.DAY, 0, 10**9)] == by_day


@BOUNDED
@given(catalog=priced(), config=customers(), steps=streams())
def test_usage_on_invoices_is_the_spend_that_alerts_measure(catalog: Catalog, config: CustomerConfig, steps: list[Step]) -> None:
    """Whatever balances cut and pay: charges before draw-down are the same."""
    contracts = tuple(replace(contract, usage_filters=(), overrides=()) for contract in config.contracts)
    held = tuple(replace(balance, rate_type=RateTarget.LIST_RATE) for balance in config.balances)
    config = replace(config, contracts=contracts, balances=held)
    books = Books(catalog, config, 24)
    books.events = [step.event for step in distinct(steps)]
    for invoice in books.look(steps[-1].now_us).drafts:
        for unit in (USD_CENTS, "credits"):
            alert = Alert("a", AlertType.SPEND_THRESHOLD, "a", ZERO, 1, credit_type_id=unit)
            usage = (item.total for item in invoice.line_items if item.type is ItemType.USAGE and item.credit_type_id == unit)
            expected = spend(catalog, alert, invoice.period, books.events).get((), Fraction(0))
            assert Fraction(sum(usage, ZERO)) == expected
