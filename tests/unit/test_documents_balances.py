"""Stored commits, credits and ledger entries become the engine's balances, exactly."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from engine.catalog import USD_CENTS, Balance, BalanceType, ManualEntry, Segment, Specifier
from schemas.balance_rules import ended_at
from schemas.commits import CommitBody, CustomerCommitCreate, CustomerCreditCreate, balance_document
from schemas.documents import encode, load_catalog, load_customer

NOW = "2026-01-15T12:00:00.000001Z"
START, MIDDLE, END = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z"
START_HOUR = 490_896
PRODUCT, OTHER = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
DIGITS = Decimal("12345678901234567890.123456789012345678")

COMMIT: dict[str, Any] = {
    "type": "PREPAID",
    "product_id": PRODUCT,
    "access_schedule": {
        "schedule_items": [
            {"amount": DIGITS, "starting_at": START, "ending_before": MIDDLE},
            {"amount": 1, "starting_at": MIDDLE, "ending_before": END},
        ]
    },
}
CUSTOMER: dict[str, Any] = {"id": "c", "version": 3, "contracts": [], "alerts": []}


def document(body: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """As it is read back from the store."""
    numbers = itertools.count()
    made = balance_document(CommitBody.model_validate(body or COMMIT), lambda: f"id-{next(numbers)}", NOW, **more)
    stored: dict[str, Any] = orjson.loads(encode(made))
    return stored


def loaded(*balances: dict[str, Any], **more: Any) -> tuple[Balance, ...]:
    return load_customer(encode({**CUSTOMER, "balances": list(balances), **more})).balances


def test_a_commit() -> None:
    (balance,) = loaded(document({**COMMIT, "priority": Decimal("1.5"), "custom_fields": {"b": "2", "a": "1"}}, contract_id="k"))
    assert balance == Balance(
        id="id-0",
        type=BalanceType.PREPAID,
        product_id=PRODUCT,
        segments=(
            Segment("id-1", START_HOUR, START_HOUR + 31 * 24, DIGITS),
            Segment("id-2", START_HOUR + 31 * 24, START_HOUR + 365 * 24, Decimal(1)),
        ),
        credit_type_id=USD_CENTS,
        priority=Decimal("1.5"),
        contract_id="k",
        invoice_contract_id="k",
        cost_basis_free=True,
        custom_fields=(("a", "1"), ("b", "2")),
        created_us=START_HOUR * 3_600_000_000 + (14 * 24 + 12) * 3_600_000_000 + 1,
    )


def test_what_it_is_for() -> None:
    specifiers = [
        {"product_id": PRODUCT, "pricing_group_values": {"z": "1", "a": "2"}},
        {"product_tags": ["x", "y"], "presentation_group_values": {"region": "eu"}},
    ]
    (balance,) = loaded(document({**COMMIT, "specifiers": specifiers}))
    assert balance.specifiers == (
        Specifier(product_id=PRODUCT, pricing_group_values=(("a", "2"), ("z", "1"))),
        Specifier(product_tags=frozenset({"x", "y"}), presentation_group_values=(("region", "eu"),)),
    )
    (balance,) = loaded(document({**COMMIT, "applicable_product_ids": [OTHER], "applicable_product_tags": ["x"]}))
    assert (balance.applicable_product_ids, balance.applicable_product_tags) == ({OTHER}, {"x"})


@pytest.mark.parametrize(
    ("items", "free"),
    [
        (None, True),
        ([], True),
        ([{"timestamp": START, "amount": 0}], True),
        ([{"timestamp": START, "unit_price": 0, "quantity": 5}], True),
        ([{"timestamp": START, "amount": 0}, {"timestamp": END, "unit_price": Decimal("0.1"), "quantity": 5}], False),
    ],
)
def test_a_commit_that_is_not_invoiced_cost_nothing(items: Any, free: bool) -> None:
    schedule = {} if items is None else {"invoice_schedule": {"schedule_items": items}}
    (balance,) = loaded(document({**COMMIT, **schedule}))
    assert balance.cost_basis_free is free


def test_contracts_that_it_applies_to() -> None:
    numbers = itertools.count()
    body = {**COMMIT, "customer_id": OTHER, "priority": 1, "applicable_contract_ids": [PRODUCT]}
    stored = balance_document(CustomerCommitCreate.model_validate(body), lambda: str(next(numbers)), NOW)
    (balance,) = loaded(stored)
    assert (balance.contract_id, balance.applicable_contract_ids) == (None, {PRODUCT})
    assert loaded(document())[0].applicable_contract_ids is None


def test_manual_entries_go_to_their_balance() -> None:
    entry = {"id": "e", "balance_id": "id-0", "segment_id": "id-2", "amount": "-0.10", "timestamp": MIDDLE, "reason": "r"}
    other = {**document(), "id": "other"}
    first, second = loaded(document(), other, ledger_entries=[entry, {**entry, "amount": "5"}])
    timestamp_us = (START_HOUR + 31 * 24) * 3_600_000_000
    assert first.manual_entries == (
        ManualEntry("id-2", Decimal("-0.1"), timestamp_us, "r"),
        ManualEntry("id-2", Decimal(5), timestamp_us, "r"),
    )
    assert second.manual_entries == ()


def test_archived_balances_and_those_of_archived_contracts() -> None:
    contract = {
        "id": "gone",
        "starting_at": START,
        "usage_statement_schedule": {"frequency": "MONTHLY", "billing_anchor_date": START},
    }
    contracts = [{**contract, "archived_at": NOW}, {**contract, "id": "open"}]
    balances = [document(), {**document(), "archived_at": NOW}, document(contract_id="gone"), document(contract_id="open")]
    assert [each.archived for each in loaded(*balances, contracts=contracts)] == [False, True, True, False]


def test_customers_from_before_there_were_balances() -> None:
    assert load_customer(encode(CUSTOMER)).balances == ()


def test_a_credit_costs_nothing() -> None:
    body = {key: value for key, value in COMMIT.items() if key != "type"}
    numbers = itertools.count()
    credit = CustomerCreditCreate.model_validate({**body, "customer_id": OTHER, "priority": 0})
    (balance,) = loaded(balance_document(credit, lambda: str(next(numbers)), NOW))
    assert (balance.type, balance.cost_basis_free) == (BalanceType.CREDIT, True)


def test_catalog_tags_and_conversions() -> None:
    product = {"id": "p", "type": "USAGE", "current": {"name": "n", "billable_metric_id": "m", "tags": ["x"]}}
    conversions = [{"custom_credit_type_id": "u", "fiat_per_custom_credit": "0.25"}]
    card = {"id": "r", "rates": [], "credit_type_conversions": conversions}
    catalog = load_catalog(1, {"products": {"p": encode(product)}, "rate_cards": {"r": encode(card)}})
    assert catalog.products["p"].tags == {"x"}
    assert catalog.rate_cards["r"].conversions == (("u", Decimal("0.25")),)


def test_an_earlier_end_cuts_one_segment_and_drops_those_after_it() -> None:
    schedule = {"schedule_items": [{"timestamp": START, "amount": 1}, {"timestamp": MIDDLE, "amount": 2}]}
    balance = document({**COMMIT, "invoice_schedule": schedule})
    cut = ended_at(balance, "2026-01-20T00:00:00Z", MIDDLE, START)
    assert [each.ending_hour for each in loaded(cut)[0].segments] == [START_HOUR + 19 * 24]
    assert [each["amount"] for each in cut["invoice_schedule"]["schedule_items"]] == ["1"]
    at_the_seam = ended_at(balance, MIDDLE, None, START)
    assert [each.ending_hour for each in loaded(at_the_seam)[0].segments] == [START_HOUR + 31 * 24]
    assert len(at_the_seam["invoice_schedule"]["schedule_items"]) == 2
    assert ended_at(balance, END, None, START) == balance
    assert ended_at(balance, END, START, MIDDLE) == balance  # both are invoiced already


def test_a_product_of_price_and_quantity_is_exact() -> None:
    item = {"timestamp": START, "unit_price": DIGITS, "quantity": DIGITS}
    stored = document({**COMMIT, "invoice_schedule": {"schedule_items": [item]}})
    text = stored["invoice_schedule"]["schedule_items"][0]["amount"]
    assert Decimal(text).as_tuple().exponent == -36
    assert text == "152415787532388367504953515625666819427.831123554031397676527968299765279684"


@pytest.mark.parametrize("changes", [{"type": "BARTER"}, {"access_schedule": {"schedule_items": [{"amount": 1}]}}])
def test_what_is_no_commit(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CommitBody.model_validate({**COMMIT, **changes})
