"""Seats of subscriptions through the official SDK in strict mode: assigned, removed, with credits of their own, watched."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from metronome import AsyncMetronome

from connectors.settings import Settings
from tests.conformance.conftest import Api
from tests.conformance.test_api_refusals import UNKNOWN
from tests.conformance.test_balances import all_of, make_customer, make_fixed
from tests.conformance.test_invoices import Clock, clock, make_priced, use, worker
from tests.conformance.test_recurring import JANUARY, contract_of, credits_of, grant, make_plan, plan
from tests.conformance.test_with_worker import until
from tests.support.worker_harness import RunningWorker

__all__ = ["clock", "worker"]

LINK: dict[str, Any] = {
    "subscription_id": "seats",
    "allocation": "individual",
    "apply_seat_increase_config": {"is_prorated": True},
}


def seats(product: str, *seat_ids: str, unassigned: int = 0, **more: Any) -> dict[str, Any]:
    """Seats are told apart by the property by which the product's usage is shown."""
    body = plan(product, quantity_management_mode="seat_based", temporary_id="seats", **more)
    del body["initial_quantity"]
    config = {"seat_group_key": "region", "initial_seat_ids": list(seat_ids), "initial_unassigned_seats": unassigned}
    return {**body, "seat_config": config}


def each_seat(product: str, amount: float = 1000, **more: Any) -> dict[str, Any]:
    return grant(product, amount, subscription_config=LINK, **more)


class Seated:
    """A customer whose contract has seats with $10 of credits each month; a unit of usage costs $1."""

    def __init__(self, sdk: AsyncMetronome, customer: str, contract: str, subscription: str) -> None:
        self.sdk = sdk
        self.ids: Any = {"customer_id": customer, "contract_id": contract}
        self.customer, self.subscription = customer, subscription

    @classmethod
    async def make(cls, sdk: AsyncMetronome, *seat_ids: str, unassigned: int = 0, **more: Any) -> Seated:
        card, _ = await make_priced(sdk)
        customer, fixed, product = await make_customer(sdk), await make_fixed(sdk), await make_plan(sdk, card)
        terms: Any = {
            "subscriptions": [seats(product, *seat_ids, unassigned=unassigned)],
            "recurring_credits": [each_seat(fixed)],
            **more,
        }
        made = await sdk.v1.contracts.create(customer_id=customer, starting_at=JANUARY, rate_card_id=card, **terms)
        subscription = (await contract_of(sdk, customer, made.data.id)).subscriptions[0].id
        return cls(sdk, customer, made.data.id, subscription)

    async def update(self, **updates: Any) -> Any:
        change: Any = {"subscription_id": self.subscription, "seat_updates": updates}
        return await self.sdk.v2.contracts.edit(**self.ids, update_subscriptions=[change])

    async def balances(self, **more: Any) -> dict[str, list[tuple[float, float]]]:
        found = await self.sdk.v1.contracts.list_seat_balances(**self.ids, **more)
        return {row.seat_id: [(each.balance, each.starting_balance) for each in row.balances] for row in found.data}

    async def quantities(self) -> list[tuple[int, float]]:
        shown = (await contract_of(self.sdk, self.customer, self.ids["contract_id"])).subscriptions[0]
        return [(each.starting_at.day, each.quantity) for each in shown.quantity_schedule]


def at(day: int, *seat_ids: str) -> dict[str, Any]:
    return {"seat_ids": list(seat_ids), "starting_at": f"2025-01-{day:02d}T00:00:00Z"}


def some(day: int, quantity: int) -> dict[str, Any]:
    return {"quantity": quantity, "starting_at": f"2025-01-{day:02d}T00:00:00Z"}


async def test_each_seat_has_its_own_credits_and_its_own_alarm(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    seated = await Seated.make(sdk, "ann", "bob", unassigned=1)
    customer = seated.customer
    watching: Any = {"alert_type": "low_remaining_seat_balance_reached", "threshold": 200}
    every, one = [
        (await sdk.v1.alerts.create(name=name, seat_filter=seat_filter, **watching)).data.id
        for name, seat_filter in [
            ("every", {"seat_group_key": "region"}),
            ("one", {"seat_group_key": "region", "seat_group_value": "bob"}),
        ]
    ]
    normal: Any = {"alert_type": "low_remaining_contract_credit_balance_reached", "threshold": 100_000}
    outside = (await sdk.v1.alerts.create(name="normal", **normal)).data.id

    async def statuses() -> list[str | None]:
        get = sdk.v1.customers.alerts.retrieve
        asked: list[dict[str, Any]] = [
            *(
                {"alert_id": every, "seat_filter": {"seat_group_key": "region", "seat_group_value": seat}}
                for seat in ("ann", "bob")
            ),
            {"alert_id": every},
            {"alert_id": one},
            {"alert_id": outside},
        ]
        return [(await get(customer_id=customer, **each)).data.customer_status for each in asked]

    await until(statuses, ["ok"] * 5)
    await use(sdk, customer, "2025-01-09", ("ann", 7), ("bob", 3), ("cyn", 5))
    await use(sdk, customer, "2025-01-10", ("ann", 1))
    await until(statuses, ["in_alarm", "ok", "in_alarm", "ok", "ok"])  # ann has exactly $2 left
    assert await seated.balances() == {"ann": [(200, 1000)], "bob": [(700, 1000)]}
    assert (await sdk.v1.contracts.get_net_balance(customer_id=customer)).data.balance == 0
    shown = (await sdk.v1.customers.alerts.retrieve(customer_id=customer, alert_id=one)).data.alert
    assert shown.seat_filter is not None
    assert (shown.seat_filter.seat_group_key, shown.seat_filter.seat_group_value) == ("region", "bob")

    await use(sdk, customer, "2025-01-08", ("bob", 9))
    await until(statuses, ["in_alarm", "in_alarm", "in_alarm", "in_alarm", "ok"])
    await seated.update(remove_seat_ids=[at(10, "ann")])
    await until(statuses, ["ok", "in_alarm", "in_alarm", "in_alarm", "ok"])
    invoices = await all_of(sdk.v1.customers.invoices.list(customer_id=customer))
    paid = [each for each in invoices[0].line_items if each.type == "applied_commit_or_credit"]
    credit = (await credits_of(sdk, customer))[0].id
    assert {each.applied_commit_or_credit.id for each in paid} == {credit}  # one credit, of which each seat has its share


async def test_seats_are_assigned_and_removed_and_the_quantity_follows(
    sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock
) -> None:
    clock.set("2025-01-10T00:00:00")
    seated = await Seated.make(sdk, "ann", "bob", unassigned=2)
    assert await seated.quantities() == [(1, 4)]
    edited = await seated.update(add_seat_ids=[at(12, "cyn", "dan", "eve")], remove_seat_ids=[at(20, "ann", "zoe")])
    assert edited.data.edit.update_subscriptions[0].seat_updates.add_seat_ids[0].seat_ids == ["cyn", "dan", "eve"]
    assert await seated.quantities() == [(1, 4), (12, 5), (20, 4)]  # two take unassigned seats; zoe has none
    await seated.update(add_unassigned_seats=[some(11, 1)], remove_unassigned_seats=[some(25, 5)])
    assert await seated.quantities() == [(1, 4), (11, 5), (20, 4)]  # eve takes the new one; nothing is left to take away

    history: Any = {**seated.ids, "subscription_id": seated.subscription}
    entries = (await sdk.v1.contracts.get_subscription_seats_history(**history)).data
    assert [(each.starting_at.day, each.assigned_seat_ids, each.total_quantity) for each in entries] == [
        (1, ["ann", "bob"], 4),
        (11, ["ann", "bob"], 5),
        (12, ["ann", "bob", "cyn", "dan", "eve"], 5),
        (20, ["bob", "cyn", "dan", "eve"], 4),
        (25, ["bob", "cyn", "dan", "eve"], 4),
    ]
    assert [each.ending_before and each.ending_before.day for each in entries] == [11, 12, 20, 25, None]
    covering = await sdk.v1.contracts.get_subscription_seats_history(**history, covering_date="2025-01-15T00:00:00Z")
    assert [each.starting_at.day for each in covering.data] == [12]
    late = await sdk.v1.contracts.get_subscription_seats_history(**history, starting_at="2025-01-20T00:00:00Z", limit=1)
    assert ([each.starting_at.day for each in late.data], late.next_page is None) == ([20], False)
    rest = await sdk.v1.contracts.get_subscription_seats_history(
        **history, starting_at="2025-01-20T00:00:00Z", cursor=late.next_page
    )
    assert ([each.starting_at.day for each in rest.data], rest.next_page) == ([25], None)

    quantities = (await sdk.v1.contracts.retrieve_subscription_quantity_history(**history)).data
    assert quantities.subscription_id == seated.subscription
    assert [(each.starting_at.day, each.data[0].quantity, each.data[0].total) for each in quantities.history or ()] == [
        (1, 4, 12_400)
    ]
    clock.set("2025-01-13T00:00:00")
    quantities = (await sdk.v1.contracts.retrieve_subscription_quantity_history(**history)).data
    assert [(each.starting_at.day, each.data[0].quantity, each.data[0].total) for each in quantities.history or ()] == [
        (1, 4, 12_400),
        (11, 5, 15_500),
    ]
    assert await seated.balances() == {
        "ann": [(1000, 1000)],
        "bob": [(1000, 1000)],
        **{seat_id: [(pytest.approx(1000 * 20 / 31), pytest.approx(1000 * 20 / 31))] for seat_id in ("cyn", "dan", "eve")},
    }


async def test_the_listing_of_seat_balances(sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    fixed = await make_fixed(sdk)
    usd = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
    invoiced = {"credit_type_id": usd, "unit_price": 50, "quantity": 1}
    seated = await Seated.make(
        sdk, *(f"s{number}" for number in range(5)), recurring_commits=[each_seat(fixed, 300, invoice_amount=invoiced)]
    )
    assert await seated.balances(seat_ids=["s1"]) == {"s1": [(1300, 1300)]}
    first = await sdk.v1.contracts.list_seat_balances(**seated.ids, limit=3)
    assert [row.seat_id for row in first.data] == ["s0", "s1", "s2"]
    assert (first.pagination.seats_included, first.pagination.seats_available_for_next_page) == (3, 2)
    assert first.data[0].commits is None
    second = await sdk.v1.contracts.list_seat_balances(**seated.ids, limit=3, cursor=first.pagination.next_page or "")
    assert ([row.seat_id for row in second.data], second.pagination.next_page) == (["s3", "s4"], None)

    whole = await contract_of(sdk, seated.customer, seated.ids["contract_id"], include_balance=True, include_ledgers=True)
    january = whole.credits[0]
    assert (january.balance, january.access_schedule.schedule_items[0].amount) == (5000, 5000)
    assert [(each.type, each.amount) for each in january.ledger] == [("CREDIT_SEGMENT_START", 5000)]
    assert whole.commits[0].invoice_schedule.schedule_items[0].amount == 250
    segment = january.access_schedule.schedule_items[0].id
    entry: Any = {**seated.ids, "id": january.id, "segment_id": segment, "reason": "by hand"}
    await sdk.v1.contracts.add_manual_balance_entry(**entry, amount=-30, per_group_amounts={"s1": -50, "s2": 20})
    detailed = await sdk.v1.contracts.list_seat_balances(
        **seated.ids, seat_ids=["s1", "s2"], include_credits_and_commits=True, include_ledgers=True
    )
    for row, amount in zip(detailed.data, (-50, 20), strict=True):
        (credit,), (commit,) = row.credits or [], row.commits or []
        assert (credit.id, credit.balance, credit.credit_type_id, credit.access_type) == (january.id, 1000 + amount, usd, "SPEND")
        assert (credit.start_date.day, credit.end_date and credit.end_date.month) == (1, 2)
        assert [(each.type, each.amount) for each in credit.ledger_entries or ()] == [
            ("CREDIT_SEGMENT_START", 1000),
            ("CREDIT_MANUAL", amount),
        ]
        assert (commit.id, commit.balance) == (whole.commits[0].id, 300)
    january = (await credits_of(sdk, seated.customer))[0]
    assert january.balance == 4970
    assert [(each.type, each.amount) for each in january.ledger] == [("CREDIT_SEGMENT_START", 5000), ("CREDIT_MANUAL", -30)]

    # February's are there a period ahead, and are worth nothing yet.
    ahead = await seated.balances(seat_ids=["s1"], covering_date="2025-02-10T00:00:00Z")
    assert ahead == {"s1": [(0, 1300)]}
    both = await sdk.v1.contracts.list_seat_balances(
        **seated.ids, starting_at=JANUARY, effective_before="2025-02-10T00:00:00Z", include_credits_and_commits=True, limit=1
    )
    assert [len(row.credits or ()) for row in both.data] == [2]

    await seated.update(remove_seat_ids=[at(10, "s1")])
    ids: Any = seated.ids
    assert (await http.post("/v1/contracts/seatBalances/list", json={**ids, "seat_ids": ["s1"]})).status_code == 400
    assert await seated.balances(seat_ids=["s1", "s2"], skip_missing_seat_ids=True) == {"s2": [(1320, 1320 - 20)]}
    assert await seated.balances(seat_ids=["s1"], covering_date="2025-01-05T00:00:00Z") == {"s1": [(0, 1300)]}


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"add_seat_ids": [at(12, "x", "x")]}, "must not name a seat twice"),
        ({"add_seat_ids": [at(12, "x")], "remove_seat_ids": [at(12, "x")]}, "must not add and remove the seat 'x'"),
        ({"add_seat_ids": [{"seat_ids": [], "starting_at": JANUARY}]}, "add_seat_ids"),
        ({"add_seat_ids": [{"seat_ids": ["x"], "starting_at": "2024-12-01T00:00:00Z"}]}, "must lie in the subscription's time"),
        ({"add_unassigned_seats": [some(12, 0)]}, "must be greater than 0"),
        ({"add_unassigned_seats": [{**some(12, 1), "quantity": 1.5}]}, "must be a whole number"),
    ],
)
async def test_refused_seat_updates(
    sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock, updates: dict[str, Any], words: str
) -> None:
    clock.set("2025-01-10T00:00:00")
    seated = await Seated.make(sdk, "ann")
    change = {"subscription_id": seated.subscription, "seat_updates": updates}
    refused = await http.post("/v2/contracts/edit", json={**seated.ids, "update_subscriptions": [change]})
    assert (refused.status_code, words in refused.json()["message"]) == (400, True), refused.text
    assert await seated.quantities() == [(1, 1)]


async def test_what_does_not_fit_together(sdk: AsyncMetronome, http: httpx.AsyncClient, api: Api, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    seated = await Seated.make(sdk, "ann")
    card, _ = await make_priced(sdk)
    fixed, product = await make_fixed(sdk), await make_plan(sdk, card)
    create: dict[str, Any] = {"customer_id": seated.customer, "starting_at": JANUARY, "rate_card_id": card}
    mode = {"quantity_management_mode": "SEAT_BASED"}
    pooled = plan(product, temporary_id="seats")
    many = seats(product, *(f"s{number}" for number in range(1000)))
    for subscription, credit, words in [
        ({**pooled, **mode}, grant(fixed), "seat_config is required for quantity_management_mode SEAT_BASED"),
        ({**seats(product), "initial_quantity": 1}, grant(fixed), "initial_quantity does not apply"),
        ({**pooled, "seat_config": seats(product)["seat_config"]}, grant(fixed), "seat_config does not apply"),
        (pooled, each_seat(fixed), "INDIVIDUAL needs a SEAT_BASED subscription"),
    ]:
        body = {**create, "subscriptions": [subscription], "recurring_credits": [credit]}
        refused = await http.post("/v1/contracts/create", json=body)
        assert (refused.status_code, words in refused.json()["message"]) == (400, True), refused.text
    full = {**create, "subscriptions": [many], "recurring_credits": [each_seat(fixed)]}
    made = (await http.post("/v1/contracts/create", json=full)).json()["data"]["id"]
    subscription_id = (await contract_of(sdk, seated.customer, made)).subscriptions[0].id
    ids = {"customer_id": seated.customer, "contract_id": made}
    one_more = {"subscription_id": subscription_id, "seat_updates": {"add_seat_ids": [at(12, "more")]}}
    refused = await http.post("/v2/contracts/edit", json={**ids, "update_subscriptions": [one_more]})
    assert (refused.status_code, "at most 1000 seats" in refused.json()["message"]) == (400, True), refused.text
    assert Settings.model_fields["individual_seats_max"].default == 1000

    (credit, *_) = await credits_of(sdk, seated.customer)
    segment = credit.access_schedule.schedule_items[0].id
    entry = {**seated.ids, "id": credit.id, "segment_id": segment, "reason": "r", "amount": 5}
    for amounts, words in [
        (None, "per_group_amounts: is required"),
        ({"ann": 4}, "must add up to the amount"),
        ({"zoe": 5}, "the seat 'zoe' has nothing in the segment"),
    ]:
        more = {} if amounts is None else {"per_group_amounts": amounts}
        refused = await http.post("/v1/contracts/addManualBalanceLedgerEntry", json={**entry, **more})
        assert (refused.status_code, words in refused.json()["message"]) == (400, True), refused.text
    for path, body, status in [
        ("/v2/contracts/credits/edit", {"customer_id": seated.customer, "credit_id": credit.id, "priority": 3}, 501),
        ("/v1/contracts/seatBalances/list", {**seated.ids, "subscription_ids": [UNKNOWN]}, 400),
        ("/v1/contracts/seatBalances/list", {**seated.ids, "cursor": "x"}, 400),
        ("/v1/contracts/seatBalances/list", {**seated.ids, "limit": 101}, 400),
        ("/v1/contracts/seatBalances/list", {**seated.ids, "covering_date": JANUARY, "starting_at": JANUARY}, 400),
        ("/v1/contracts/seatBalances/list", {**seated.ids, "contract_id": UNKNOWN}, 404),
        ("/v1/contracts/getSubscriptionSeatsHistory", {**seated.ids, "subscription_id": UNKNOWN}, 404),
        ("/v1/contracts/getSubscriptionQuantityHistory", {**seated.ids, "subscription_id": UNKNOWN}, 404),
        ("/v1/contracts/getSubscriptionSeatsHistory", {**seated.ids, "subscription_id": seated.subscription, "limit": 11}, 400),
    ]:
        assert (await http.post(path, json=body)).status_code == status, path


async def test_a_quantity_becomes_seats(sdk: AsyncMetronome, http: httpx.AsyncClient, clock: Clock) -> None:
    clock.set("2025-01-10T00:00:00")
    card, _ = await make_priced(sdk)
    customer, product = await make_customer(sdk), await make_plan(sdk, card)
    terms: Any = {"subscriptions": [plan(product, 3)]}
    made = await sdk.v1.contracts.create(customer_id=customer, starting_at=JANUARY, rate_card_id=card, **terms)
    subscription = (await contract_of(sdk, customer, made.data.id)).subscriptions[0].id
    seated = Seated(sdk, customer, made.data.id, subscription)
    refused = {"subscription_id": subscription, "seat_updates": {"add_seat_ids": [at(12, "ann")]}}
    answer = await http.post("/v2/contracts/edit", json={**seated.ids, "update_subscriptions": [refused]})
    assert (answer.status_code, "do not apply" in answer.json()["message"]) == (400, True)

    more: Any = {"subscription_id": subscription, "quantity_updates": [some(20, 5)]}
    await sdk.v2.contracts.edit(**seated.ids, update_subscriptions=[more])
    mode: Any = {"quantity_management_mode": "SEAT_BASED", "seat_config": {"seat_group_key": "region"}}
    change: Any = {"subscription_id": subscription, "quantity_management_mode_update": mode}
    change["seat_updates"] = {"add_seat_ids": [at(12, "ann", "bob", "cyn", "dan")]}
    await sdk.v2.contracts.edit(**seated.ids, update_subscriptions=[change])
    assert await seated.quantities() == [(1, 3), (12, 4), (20, 6)]
    shown = (await contract_of(sdk, customer, made.data.id)).subscriptions[0]
    assert (shown.quantity_management_mode, shown.seat_config.seat_group_key) == ("SEAT_BASED", "region")
    again = await http.post("/v2/contracts/edit", json={**seated.ids, "update_subscriptions": [change]})
    assert (again.status_code, "SEAT_BASED already" in again.json()["message"]) == (400, True)
    quantity = {"subscription_id": subscription, "quantity_updates": [some(21, 9)]}
    answer = await http.post("/v2/contracts/edit", json={**seated.ids, "update_subscriptions": [quantity]})
    assert (answer.status_code, "use seat_updates" in answer.json()["message"]) == (400, True)


async def test_a_package_with_seats(sdk: AsyncMetronome, clock: Clock) -> None:
    """A package names no seats: they are assigned on each contract that is made with it."""
    clock.set("2025-01-10T00:00:00")
    card, _ = await make_priced(sdk)
    fixed, customer, product = await make_fixed(sdk), await make_customer(sdk), await make_plan(sdk, card)
    subscription: dict[str, Any] = {
        "subscription_rate": {"billing_frequency": "MONTHLY", "product_id": product},
        "collection_schedule": "ARREARS",
        "proration": {"is_prorated": True, "invoice_behavior": "BILL_ON_NEXT_COLLECTION_DATE"},
        "quantity_management_mode": "SEAT_BASED",
        "seat_config": {"seat_group_key": "region", "initial_unassigned_seats": 2},
        "temporary_id": "seats",
    }
    credit: dict[str, Any] = {
        "product_id": fixed,
        "priority": 1,
        "access_amount": {"unit_price": 1000, "credit_type_id": "2714e483-4ff1-48e4-9e25-ac732e8f24f2"},
        "commit_duration": {"value": 1, "unit": "PERIODS"},
        "rate_type": "LIST_RATE",
        "starting_at_offset": {"unit": "DAYS", "value": 0},
        "subscription_config": {**LINK, "allocation": "INDIVIDUAL"},
    }
    terms: Any = {"subscriptions": [subscription], "recurring_credits": [credit]}
    package = (await sdk.v1.packages.create(name="Team", rate_card_id=card, **terms)).data.id
    shown = (await sdk.v1.packages.retrieve(package_id=package)).data.subscriptions or []
    assert (shown[0].quantity_management_mode, shown[0].seat_config.seat_group_key) == ("SEAT_BASED", "region")  # type: ignore[union-attr]
    made = (await sdk.v1.contracts.create(customer_id=customer, starting_at=JANUARY, package_id=package)).data.id
    own = (await contract_of(sdk, customer, made)).subscriptions[0].id
    seated = Seated(sdk, customer, made, own)
    assert (await seated.quantities(), await seated.balances()) == ([(1, 2)], {})
    await seated.update(add_seat_ids=[at(1, "ann")])
    assert (await seated.quantities(), await seated.balances()) == ([(1, 2)], {"ann": [(1000, 1000)]})


async def test_seats_may_have_units_of_usage(sdk: AsyncMetronome, worker: RunningWorker, clock: Clock) -> None:
    """Five units a month for each seat, whatever they cost; an alert on what is left of them."""
    clock.set("2025-01-10T00:00:00")
    fixed = await make_fixed(sdk)
    units = {"unit_price": 5, "quantity": 1, "access_type": "QUANTITY"}
    seated = await Seated.make(sdk, "ann", "bob", recurring_credits=[each_seat(fixed, access_amount=units)])
    watching: Any = {"access_type": "QUANTITY", "seat_filter": {"seat_group_key": "region"}, "threshold": 1}
    alert = (await sdk.v1.alerts.create(alert_type="low_remaining_seat_balance_reached", name="units", **watching)).data.id

    async def status() -> str | None:
        return (await sdk.v1.customers.alerts.retrieve(customer_id=seated.customer, alert_id=alert)).data.customer_status

    await until(status, "ok")
    await use(sdk, seated.customer, "2025-01-09", ("ann", 3))
    await use(sdk, seated.customer, "2025-01-08", ("ann", 1), ("bob", 2))
    await until(status, "in_alarm")
    found = (await sdk.v1.contracts.list_seat_balances(**seated.ids)).data
    assert [(each.balance, each.starting_balance, each.access_type) for row in found for each in row.balances] == [
        (1, 5, "QUANTITY"),
        (3, 5, "QUANTITY"),
    ]
    assert {each.credit_type_id for row in found for each in row.balances} == {"00000000-0000-0000-0000-000000000000"}
