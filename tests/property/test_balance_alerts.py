"""Headroom never hides a crossing: after every event, alerts on balances and invoices stand as a full statement says.

The statement itself is held against an independent recomputation elsewhere; here it is the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.alerts.kinds import GAUGED
from engine.alerts.states import State
from engine.alerts.stored import decode_state, state_field, state_key
from engine.catalog import (
    USD_CENTS,
    AccessType,
    Aggregation,
    Alert,
    AlertSpecifier,
    AlertType,
    Allocation,
    Balance,
    BalanceType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    Collection,
    CommitRate,
    Contract,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
    Frequency,
    InvoiceItem,
    ManualEntry,
    Product,
    ProductType,
    Rate,
    RateCard,
    RateTarget,
    RateType,
    RecurringBalance,
    RecurringTerms,
    RolledOver,
    ScheduledCharge,
    SeatStep,
    Segment,
    Subscription,
    SubscriptionLink,
    Tier,
)
from engine.customer import EngineSettings
from engine.effects import UsageEvent
from engine.invoices.statement import statement
from engine.invoices.usage import usage_of_store
from engine.numbers import exact
from engine.standing import figures
from tests.strategies import FIRST_HOUR, HOUR_US, NOW_US, Step, catalogs, streams
from tests.support.stored_customer import Driver

BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = NOW_US // HOUR_US
STANDING = [kind for kind in AlertType if kind not in GAUGED]

amounts = st.sampled_from([Decimal(text) for text in ("0", "1", "2.5", "6", "12", "40", "0.75")])
values = st.sampled_from(["red", "blue"])
fields = st.dictionaries(st.sampled_from(["team", "tier"]), values).map(lambda made: tuple(sorted(made.items())))
units = st.sampled_from([USD_CENTS, USD_CENTS, USD_CENTS, "credits"])
access_types = st.sampled_from([AccessType.SPEND, AccessType.SPEND, AccessType.SPEND, AccessType.QUANTITY])

seats = st.sampled_from([("region", None), ("region", None), ("region", "eu"), ("region", "us"), ("model", None), ("model", "x")])


@pytest.fixture(autouse=True, scope="module")
def _exact() -> Iterator[None]:
    with exact():
        yield


@st.composite
def invoice_items(draw: st.DrawFn, prefix: str) -> tuple[InvoiceItem, ...]:
    """Charges on dates among the events."""
    hours = draw(st.lists(st.integers(-70, 60), max_size=2))
    return tuple(
        InvoiceItem(f"{prefix}-i{number}", (NOW + hour) * HOUR_US + draw(st.sampled_from([0, 1])), draw(amounts), Decimal(2))
        for number, hour in enumerate(hours)
    )


@st.composite
def balances(draw: st.DrawFn, balance_id: str, product_ids: list[str]) -> Balance:
    """One or two segments whose ends lie among the events."""
    cuts = sorted(draw(st.sets(st.integers(-70, 60), min_size=2, max_size=3)))
    segments = tuple(Segment(f"{balance_id}-{cut}", NOW + cut, NOW + end, draw(amounts)) for cut, end in pairwise(cuts))
    manual = draw(st.sampled_from([(), (), (Decimal(2),), (Decimal(-1),)]))
    return Balance(
        id=balance_id,
        type=draw(st.sampled_from(BalanceType)),
        product_id="fee",
        segments=segments,
        credit_type_id=draw(units),
        access_type=draw(access_types),
        rate_type=draw(st.sampled_from([RateTarget.LIST_RATE, RateTarget.LIST_RATE, RateTarget.COMMIT_RATE])),
        priority=draw(st.sampled_from([Decimal(0), Decimal(1)])),
        contract_id=draw(st.sampled_from([None, "c0"])),
        applicable_product_ids=frozenset(draw(st.sets(st.sampled_from(product_ids), max_size=1))),
        manual_entries=tuple(ManualEntry(segments[0].id, amount, NOW_US - HOUR_US, "") for amount in manual),
        custom_fields=draw(fields),
        invoice_items=draw(invoice_items(balance_id)),
        invoice_contract_id="c0",
        seat=draw(st.sampled_from([None, None, None, None, ("region", "eu"), ("region", "us"), ("model", "x")])),
    )


@st.composite
def subscriptions(draw: st.DrawFn, contract_id: str, starting_hour: int) -> Subscription:
    """Seats that come and go among the events."""
    key, seat_ids = draw(st.sampled_from([("region", ["eu", "us"]), ("region", ["eu"]), ("model", ["x"])]))
    steps = [SeatStep(starting_hour, seat_id, assigned=True) for seat_id in seat_ids]
    for hour in sorted(draw(st.sets(st.integers(-20, 40), max_size=2))):
        steps.append(SeatStep(NOW + hour, draw(st.sampled_from(seat_ids)), assigned=draw(st.booleans())))
    return Subscription(
        id=f"{contract_id}-seats",
        product_id="seats",
        billing=BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US),
        collection=Collection.ADVANCE,
        starting_hour=starting_hour,
        ending_hour=draw(st.sampled_from([None, None, NOW + 8])),
        seat_group_key=key,
        seat_steps=tuple(sorted(steps, key=lambda step: step.hour)),
    )


@st.composite
def shares(draw: st.DrawFn, contract: Contract) -> tuple[RecurringBalance, ...]:
    """A credit each week for each seat of the contract's subscription, or none."""
    if not contract.subscriptions or draw(st.booleans()):
        return ()
    terms = RecurringTerms(0, draw(amounts))
    child = Balance(f"{contract.id}-r", BalanceType.CREDIT, "fee", (), draw(units), contract_id=contract.id)
    link = SubscriptionLink(contract.subscriptions[0].id, Allocation.INDIVIDUAL, is_prorated=False)
    duration = draw(st.sampled_from([1, 1, 2]))
    return (RecurringBalance(child, contract.schedule, contract.starting_hour, (terms,), duration, link=link),)


@st.composite
def filters(draw: st.DrawFn, entities: list[Entity]) -> CustomFieldFilter:
    return CustomFieldFilter(draw(st.sampled_from(entities)), draw(st.sampled_from(["team", "tier"])), draw(values))


@st.composite
def specifiers(draw: st.DrawFn) -> tuple[AlertSpecifier, ...]:
    """None, one keyed by a field, or up to two with inclusions and exclusions; whether these can match does not matter."""
    keyed = draw(st.sampled_from([None, None, "team", "tier"]))
    some = filters([*Entity])
    exclusions = st.lists(st.lists(some, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple)
    if keyed is not None:
        return (AlertSpecifier((CustomFieldFilter(draw(st.sampled_from(Entity)), keyed, None),), draw(exclusions)),)
    made = st.builds(AlertSpecifier, st.lists(some, max_size=2).map(tuple), exclusions)
    return tuple(draw(st.lists(made, max_size=2)))


@st.composite
def alerts(draw: st.DrawFn, alert_id: str) -> Alert:
    kind = draw(st.sampled_from(STANDING))
    return Alert(
        id=alert_id,
        type=kind,
        name=alert_id,
        threshold=draw(st.sampled_from([Decimal(text) for text in ("0", "0.5", "1", "2.5", "5", "10", "50")])),
        created_version=1,
        credit_type_id=draw(units),
        access_type=draw(access_types),
        custom_field_filters=() if draw(st.integers(0, 3)) else (draw(filters([Entity.CONTRACT])),),
        specifiers=draw(specifiers()) if kind in (AlertType.TOTAL_BALANCE, AlertType.TOTAL_PERCENTAGE) else (),
        seat_filter=draw(seats) if kind is AlertType.SEAT_BALANCE else None,
    )


def with_composite(catalog: Catalog, card: RateCard, unit: str, minimum: Decimal | None) -> tuple[Catalog, RateCard]:
    """A charge on the spend of all other products."""
    composite = Product("support", "support", type=ProductType.COMPOSITE, composite_product_ids=frozenset(catalog.products))
    tiers = (Tier(Decimal(5), Decimal("0.5")), Tier(None, Decimal("1.5")))
    rate = Rate("support", RateType.TIERED_PERCENTAGE, 0, tiers=tiers, credit_type_id=unit, minimum=minimum)
    products = {**catalog.products, "support": composite}
    return replace(catalog, products=products), replace(card, rates=(*card.rates, rate))


@st.composite
def configurations(draw: st.DrawFn) -> tuple[CustomerConfig, Catalog]:
    catalog = draw(catalogs())
    card = catalog.rate_cards["card"]
    conversions = draw(st.sampled_from([(), (("credits", Decimal("0.5")),), (("credits", Decimal(3)),)]))
    gauged = catalog.alerts if draw(st.booleans()) else ()
    if draw(st.booleans()):
        commit_rates = st.sampled_from([None, CommitRate(RateType.FLAT, Decimal("0.3")), CommitRate(RateType.FLAT, Decimal(3))])
        card = replace(card, rates=tuple(replace(rate, commit_rate=draw(commit_rates)) for rate in card.rates))
    standing = tuple(draw(alerts(f"s{number}")) for number in range(draw(st.integers(1, 5))))
    card = replace(card, conversions=conversions)
    if not draw(st.integers(0, 3)):
        catalog, card = with_composite(catalog, card, draw(units), draw(st.sampled_from([None, Decimal(20)])))
    catalog = replace(catalog, rate_cards={"card": card}, alerts=(*gauged, *standing))
    starts = [FIRST_HOUR, NOW - 40]
    contracts = tuple(
        Contract(
            id=f"c{number}",
            rate_card_id="card",
            starting_hour=start,
            ending_hour=draw(st.sampled_from([None, None, NOW + 15])),
            schedule=BillingSchedule(Frequency.WEEKLY, draw(st.sampled_from([start, FIRST_HOUR])) * HOUR_US),
            custom_fields=draw(fields),
            subscriptions=(draw(subscriptions(f"c{number}", start)),) if draw(st.booleans()) else (),
            scheduled_charges=(ScheduledCharge(f"c{number}-fee", "fee", draw(invoice_items(f"c{number}"))),),
            charges_on_usage_invoices=draw(st.booleans()),
        )
        for number, start in enumerate(starts[: draw(st.sampled_from([1, 1, 2]))])
    )
    contracts = tuple(replace(each, recurring=draw(shares(each))) for each in contracts)
    made = tuple(draw(balances(f"b{number}", list(catalog.products))) for number in range(draw(st.integers(1, 3))))
    return CustomerConfig("customer", 1, contracts, balances=made), catalog


def alarmed(driver: Driver) -> set[str]:
    """The state fields of standing alerts that are in alarm."""
    standing = {alert.id for alert in driver.catalog.alerts if alert.type not in GAUGED}
    return {
        name
        for name, text in driver.store.state.items()
        if name.startswith("s|") and state_key(name).alert_id in standing and decode_state(text).state == State.IN_ALARM
    }


def past_their_line(driver: Driver) -> set[str]:
    """By a statement of the usage of every hour, as the API makes it."""
    aggregate = driver.aggregate
    made = statement(
        driver.customer,
        aggregate._compiled,
        usage_of_store(*aggregate._usage),
        now_us=driver.now_us,
        grace_hours=aggregate._settings.grace_hours,
        finalized=aggregate._final.all(),
    )
    full = figures(aggregate._watch.standing, driver.customer, made, driver.now_us, aggregate._settings.grace_hours)
    assert {key: (figure.value, figure.past) for key, figure in full.items()} == {
        key: (figure.value, figure.past) for key, figure in aggregate._standing.at(driver.now_us)().items()
    }
    return {state_field(key) for key, figure in full.items() if figure.past}


@st.composite
def renewals(draw: st.DrawFn) -> tuple[CustomerConfig, Catalog]:
    """A contract that ends among the events, and the one that gets what its first balance has left."""
    config, catalog = draw(configurations())
    ended = NOW + draw(st.sampled_from([-20, 2, 12]))
    first = replace(config.contracts[0], ending_hour=ended)
    second = replace(first, id="c1", starting_hour=ended, ending_hour=None)
    source = replace(config.balances[0], contract_id="c0")
    over = Segment("over-s", ended, NOW + 60, Decimal(0))
    rolled = RolledOver(source.id, "c0", draw(st.sampled_from([Decimal(1), Decimal("0.5")])), draw(st.booleans()))
    more = replace(source, id="over", contract_id="c1", segments=(over,), manual_entries=(), rolled_over=rolled)
    return replace(config, contracts=(first, second), balances=(source, *config.balances[1:], more)), catalog


@BOUNDED
@given(configuration=st.one_of(configurations(), renewals()), steps=streams(), grace_hours=st.sampled_from([24, 0, 48]))
def test_headroom_hides_nothing(configuration: tuple[CustomerConfig, Catalog], steps: list[Step], grace_hours: int) -> None:
    config, catalog = configuration
    driver = Driver(config, catalog, NOW_US, EngineSettings(grace_hours=grace_hours))
    for event, now_us in steps:
        driver.advance(now_us)
        before = driver.aggregate._standing.at(now_us)()
        driver.event(event, now_us)
        told = driver.collect()
        if driver.aggregate._live.closed:
            return
        assert alarmed(driver) == past_their_line(driver)
        now = driver.aggregate._standing.at(now_us)()
        for each in told:
            if each.evidence is None or each.alert_id not in {alert.id for alert in catalog.alerts if alert.type not in GAUGED}:
                continue
            values = [(before[key].value, now[key].value) for key in now if key in before and key.alert_id == each.alert_id]
            assert (each.previous_value, each.value) in values


FLAT = Catalog(
    revision=1,
    metrics={name: BillableMetric(name, name, Aggregation.SUM, name) for name in ("cash", "coins")},
    products={name: Product(name, name, name) for name in ("cash", "coins")},
    rate_cards={
        "card": RateCard(
            "card",
            (
                Rate("cash", RateType.FLAT, 0, price=Decimal(2)),
                Rate("coins", RateType.FLAT, 0, credit_type_id="credits", price=Decimal(1)),
            ),
            conversions=(("credits", Decimal("1.5")),),
        )
    },
)


@BOUNDED
@given(
    standing=st.lists(alerts("a"), min_size=1, max_size=4),
    left=st.lists(balances("b", ["cash", "coins"]), max_size=2),
    uses=st.lists(
        st.tuples(st.sampled_from(["cash", "coins"]), st.sampled_from(["0.25", "1", "2", "3"])), min_size=4, max_size=14
    ),
)
def test_rising_spend_uses_headroom_up_in_time(standing: list[Alert], left: list[Balance], uses: list[tuple[str, str]]) -> None:
    """Plain amounts in dollars and in a custom unit that is converted: nothing but the headroom asks for a statement."""
    catalog = replace(FLAT, alerts=tuple(replace(alert, id=f"a{number}") for number, alert in enumerate(standing)))
    schedule = BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US)
    contract = Contract("c0", "card", FIRST_HOUR, None, schedule)
    made = (
        Balance("money", BalanceType.PREPAID, "fee", (Segment("m", NOW - 9, NOW + 9, Decimal(12)),)),
        Balance("units", BalanceType.CREDIT, "fee", (Segment("u", NOW - 9, NOW + 9, Decimal(6)),), credit_type_id="credits"),
        *(replace(each, id=f"b{number}") for number, each in enumerate(left)),
    )
    driver = Driver(CustomerConfig("customer", 1, (contract,), balances=made), catalog, NOW_US)
    for number, (metric, amount) in enumerate(uses):
        driver.event(UsageEvent(f"t{number}", "call", NOW_US, NOW, {metric: amount}, "t", 0, number, 0), NOW_US)
        driver.collect()
        assert alarmed(driver) == past_their_line(driver)


@BOUNDED
@given(configuration=configurations(), steps=streams(), data=st.data())
def test_batches_and_reloads_cannot_be_seen(
    configuration: tuple[CustomerConfig, Catalog], steps: list[Step], data: st.DataObject
) -> None:
    config, catalog = configuration
    whole, cut = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    for event, now_us in steps:
        whole.event(event, now_us)
        cut.event(event, now_us)
        match data.draw(st.sampled_from(["nothing", "collect", "reload"])):
            case "collect":
                cut.collect()
            case "reload":
                cut.reload()
    whole.collect()
    cut.collect()
    assert cut.notifications == whole.notifications
    assert len({each.id for each in whole.notifications}) == len(whole.notifications)
    assert cut.store == whole.store


@BOUNDED
@given(configuration=configurations(), steps=streams(size_max=8))
def test_timers_alone_bring_what_time_brings(configuration: tuple[CustomerConfig, Catalog], steps: list[Step]) -> None:
    config, catalog = configuration
    timed, watched = Driver(config, catalog, NOW_US), Driver(config, catalog, NOW_US)
    end_us = steps[-1].now_us + 20 * 24 * HOUR_US
    for event, now_us in [*steps, (None, end_us)]:
        while timed.timer_us is not None and timed.timer_us <= now_us:
            timed.advance(timed.timer_us)
        for hour in range(watched.now_us // HOUR_US + 1, now_us // HOUR_US + 1):
            watched.advance(hour * HOUR_US)
        if event is not None:
            for driver in (timed, watched):
                driver.event(event, now_us)
                driver.collect()
    assert timed.notifications == watched.notifications


SEATS = Catalog(
    revision=1,
    metrics={name: BillableMetric(name, name, Aggregation.SUM, name, group_keys=(("user",),)) for name in ("calls", "coins")},
    products={
        "calls": Product("calls", "calls", "calls", presentation_group_key=("user",)),
        "coins": Product("coins", "coins", "coins"),
    },
    rate_cards={"card": RateCard("card", tuple(Rate(name, RateType.FLAT, 0, price=Decimal(2)) for name in ("calls", "coins")))},
)
USERS = ["ann", "bob", "cyn"]


@BOUNDED
@given(
    thresholds=st.lists(st.tuples(st.sampled_from(["0", "2", "6"]), st.sampled_from([None, "ann"])), min_size=1, max_size=3),
    shared=st.lists(balances("s", ["calls", "coins"]).map(lambda each: replace(each, seat=None)), max_size=2),
    left=st.lists(st.sampled_from(["4", "8", "12.5"]), min_size=3, max_size=3),
    uses=st.lists(
        st.tuples(
            st.sampled_from(["calls", "calls", "calls", "coins"]),
            st.sampled_from([*USERS, None]),
            st.sampled_from(["0.25", "1", "2", "3", "-1"]),
        ),
        min_size=4,
        max_size=14,
    ),
)
def test_each_seat_has_headroom_of_its_own(
    thresholds: list[tuple[str, str | None]], shared: list[Balance], left: list[str], uses: list[tuple[str, str | None, str]]
) -> None:
    """Whether what the seats have is drawn apart from everything else (no other balance comes first) or not."""
    watching = tuple(
        Alert(f"a{number}", AlertType.SEAT_BALANCE, "", Decimal(threshold), 1, seat_filter=("user", user))
        for number, (threshold, user) in enumerate(thresholds)
    )
    steps = tuple(SeatStep(FIRST_HOUR, user, assigned=True) for user in USERS)
    schedule = BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US)
    seats = Subscription("seats", "seats", schedule, Collection.ADVANCE, FIRST_HOUR, seat_group_key="user", seat_steps=steps)
    contract = Contract("c0", "card", FIRST_HOUR, None, schedule, subscriptions=(seats,))
    own = tuple(
        Balance(user, BalanceType.CREDIT, "fee", (Segment(user, NOW - 9, NOW + 9, Decimal(amount)),), seat=("user", user))
        for user, amount in zip(USERS, left, strict=True)
    )
    made = tuple(replace(each, id=f"s{number}") for number, each in enumerate(shared))
    driver = Driver(CustomerConfig("customer", 1, (contract,), balances=(*own, *made)), replace(SEATS, alerts=watching), NOW_US)
    for number, (metric, user, amount) in enumerate(uses):
        properties = {metric: amount, "user": user}
        driver.event(UsageEvent(f"t{number}", "call", NOW_US, NOW, properties, "t", 0, number, 0), NOW_US)
        driver.collect()
        assert alarmed(driver) == past_their_line(driver)


@BOUNDED
@given(
    thresholds=st.lists(st.tuples(st.sampled_from(["0", "2", "6"]), st.sampled_from([None, "ann"])), min_size=1, max_size=2),
    comings=st.lists(st.tuples(st.integers(-60, 60), st.sampled_from(USERS), st.booleans()), max_size=4),
    duration=st.sampled_from([1, 1, 2]),
    ending=st.sampled_from([None, None, NOW + 40]),
    shared=st.booleans(),
    grace_hours=st.sampled_from([24, 0, 48]),
    uses=st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 1, 9, 30, 150]),
            st.sampled_from([0, 0, 0, -1, -20]),
            st.sampled_from(USERS),
            st.sampled_from(["0.5", "1", "2", "-1"]),
        ),
        min_size=3,
        max_size=12,
    ),
)
def test_shares_of_seats_over_the_weeks(
    thresholds: list[tuple[str, str | None]],
    comings: list[tuple[int, str, bool]],
    duration: int,
    ending: int | None,
    shared: bool,
    grace_hours: int,
    uses: list[tuple[int, int, str, str]],
) -> None:
    """Weekly credits of each seat, the last of which may be over; usage that is late or early; seats that come and go."""
    watching = tuple(
        Alert(f"a{number}", AlertType.SEAT_BALANCE, "", Decimal(threshold), 1, seat_filter=("user", user))
        for number, (threshold, user) in enumerate(thresholds)
    )
    steps = [SeatStep(FIRST_HOUR, user, assigned=True) for user in USERS]
    steps += [SeatStep(NOW + hour, user, assigned) for hour, user, assigned in sorted(comings)]
    schedule = BillingSchedule(Frequency.WEEKLY, FIRST_HOUR * HOUR_US)
    seats = Subscription(
        "seats", "seats", schedule, Collection.ADVANCE, FIRST_HOUR, seat_group_key="user", seat_steps=tuple(steps)
    )
    child = Balance("r", BalanceType.CREDIT, "fee", (), contract_id="c0")
    terms = (RecurringTerms(0, Decimal(8), ending_hour=ending),)
    link = SubscriptionLink("seats", Allocation.INDIVIDUAL, is_prorated=False)
    recurring = RecurringBalance(child, schedule, FIRST_HOUR, terms, duration, link=link)
    contract = Contract("c0", "card", FIRST_HOUR, None, schedule, subscriptions=(seats,), recurring=(recurring,))
    first = Balance("s", BalanceType.CREDIT, "fee", (Segment("s", NOW - 60, NOW + 60, Decimal(5)),), priority=Decimal(-1))
    config = CustomerConfig("customer", 1, (contract,), balances=(first,) if shared else ())
    driver = Driver(config, replace(SEATS, alerts=watching), NOW_US, EngineSettings(grace_hours=grace_hours))
    now_us = NOW_US
    for number, (later, off, user, amount) in enumerate(uses):
        now_us += later * HOUR_US
        driver.advance(now_us)
        assert alarmed(driver) == past_their_line(driver)
        before = driver.aggregate._standing.at(now_us)()
        at_us = now_us + off * HOUR_US
        event = UsageEvent(f"t{number}", "call", at_us, at_us // HOUR_US, {"calls": amount, "user": user}, "t", 0, number, 0)
        driver.event(event, now_us)
        told = driver.collect()
        assert alarmed(driver) == past_their_line(driver)
        now = driver.aggregate._standing.at(now_us)()
        for each in told:
            values = [(before[key].value, now[key].value) for key in now if key in before and key.alert_id == each.alert_id]
            assert (each.previous_value, each.value) in values
