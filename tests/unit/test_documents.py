"""Stored documents become the engine's configuration, exactly."""

from decimal import Decimal

import orjson
import pytest

from engine.catalog import USD_CENTS, Aggregation, AlertType, Frequency, Operation, RateType, RoundingMethod, Tier
from schemas.documents import encode, instant_text, instant_us, load_catalog, load_customer
from schemas.numbers import exact_json, json_number, parse_json

METRIC = {
    "id": "m",
    "name": "tokens",
    "aggregation_type": "SUM",
    "aggregation_key": "tokens",
    "event_type_filter": {"in_values": ["call"]},
    "property_filters": [{"name": "tokens", "exists": True}, {"name": "region", "not_in_values": ["test"]}],
    "group_keys": [["region"], ["region", "model"]],
}
PRODUCT = {
    "id": "p",
    "type": "USAGE",
    "current": {
        "name": "Tokens",
        "billable_metric_id": "m",
        "pricing_group_key": ["region"],
        "quantity_conversion": {"conversion_factor": Decimal("0.001"), "operation": "MULTIPLY"},
        "quantity_rounding": {"rounding_method": "ROUND_UP", "decimal_places": 0},
    },
}
CARD = {
    "id": "c",
    "rates": [
        {
            "product_id": "p",
            "rate_type": "TIERED",
            "starting_at": "2026-01-01T00:00:00Z",
            "tiers": [{"size": "100", "price": "0.1"}, {"price": "0.05"}],
            "pricing_group_values": {"region": "eu"},
            "entitled": True,
        }
    ],
}


def alert(alert_id: str, version: int, **more: object) -> dict[str, object]:
    return {
        "id": alert_id,
        "type": "spend_threshold_reached",
        "name": "n",
        "threshold": "100.50",
        "created_version": version,
        "version": 1,
        "evaluate_on_create": True,
        **more,
    }


def test_catalog_loads_every_kind() -> None:
    parts = {
        "metrics": {"m": encode(METRIC)},
        "products": {"p": encode(PRODUCT), "fixed": encode({"id": "fixed", "type": "FIXED", "current": {"name": "Fee"}})},
        "rate_cards": {"c": encode(CARD)},
        "alerts": {
            "b": encode(alert("b", 9)),
            "a": encode(alert("a", 4)),
            "x": encode(alert("x", 1, archived_at="2026-01-01T00:00:00Z")),
        },
    }
    catalog = load_catalog(12, parts)
    assert catalog.revision == 12
    metric = catalog.metrics["m"]
    assert metric.aggregation is Aggregation.SUM
    assert metric.event_types_in == {"call"}
    assert metric.event_types_not_in is None
    assert metric.property_filters[1].not_in_values == {"test"}
    assert metric.group_keys == (("region",), ("region", "model"))
    assert set(catalog.products) == {"p"}  # a FIXED product is never rated
    product = catalog.products["p"]
    assert product.conversion is not None
    assert (product.conversion.factor, product.conversion.operation) == (Decimal("0.001"), Operation.MULTIPLY)
    assert product.rounding is not None
    assert product.rounding.method is RoundingMethod.ROUND_UP
    (rate,) = catalog.rate_cards["c"].rates
    assert rate.rate_type is RateType.TIERED
    assert rate.tiers == (Tier(Decimal(100), Decimal("0.1")), Tier(None, Decimal("0.05")))
    assert rate.starting_hour == instant_us("2026-01-01T00:00:00Z") // 3_600_000_000
    assert rate.credit_type_id == USD_CENTS
    assert rate.pricing_group_values == (("region", "eu"),)
    assert [each.id for each in catalog.alerts] == ["a", "b"]  # by the revision that brought them; archived ones are out


def test_customer_leaves_out_archived_parts() -> None:
    contract = {
        "id": "k",
        "rate_card_id": "c",
        "starting_at": "2026-01-15T00:00:00+00:00",
        "ending_before": None,
        "usage_statement_schedule": {"frequency": "MONTHLY", "billing_anchor_date": "2026-01-01T00:00:00Z"},
    }
    raw = encode(
        {
            "id": "cust",
            "version": 7,
            "contracts": [contract, {**contract, "id": "old", "archived_at": "2026-02-01T00:00:00Z"}],
            "alerts": [
                alert("own", 3, customer_id="cust", group_values=[{"key": "region"}, {"key": "model", "value": "m1"}]),
                alert("gone", 2, archived_at="2026-02-01T00:00:00Z"),
            ],
        }
    )
    customer = load_customer(raw)
    assert [each.id for each in customer.contracts] == ["k"]
    assert customer.contracts[0].schedule.frequency is Frequency.MONTHLY
    assert customer.contracts[0].ending_hour is None
    (own,) = customer.alerts
    assert own.type is AlertType.SPEND_THRESHOLD
    assert own.threshold == Decimal("100.5")
    assert own.created_version == 3
    assert own.group_values == (("region", None), ("model", "m1"))
    assert (customer.version, customer.archived) == (7, False)
    assert load_customer(
        encode({"id": "z", "version": 1, "contracts": [], "alerts": [], "archived_at": "2026-01-01T00:00:00Z"})
    ).archived


def test_a_rate_off_the_hour_does_not_load() -> None:
    card = {"id": "c", "rates": [{**CARD["rates"][0], "starting_at": "2026-01-01T00:30:00Z"}]}  # type: ignore[index]
    with pytest.raises(ValueError, match="on the hour"):
        load_catalog(1, {"rate_cards": {"c": encode(card)}})


def test_numbers_keep_every_digit_both_ways() -> None:
    digits = "12345678901234567890.123456789012345678"
    parsed = parse_json(f'{{"a": {digits}, "b": 123456789012345678901234567890, "c": 0.1}}'.encode())
    assert parsed == {"a": Decimal(digits), "b": Decimal("123456789012345678901234567890"), "c": Decimal("0.1")}
    assert orjson.dumps({"v": json_number(Decimal(digits))}) == f'{{"v":{digits}}}'.encode()
    assert exact_json(parsed) == f'{{"a":{digits},"b":123456789012345678901234567890,"c":0.1}}'.encode()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"NaN", b'{"a": Infinity}', b"\xff", b'"\\ud800"', b"[" * 100_000, b"1e99999999999999999999"]
)
def test_unreadable_bodies_raise_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(body)


@pytest.mark.parametrize("text", ["1969-12-31T23:00:00Z", "2026-11-21T07:59:39.000001Z", "2024-02-29T12:00:00Z"])
def test_instants_round_trip(text: str) -> None:
    assert instant_text(instant_us(text)) == text


def test_an_instant_needs_an_offset() -> None:
    with pytest.raises(ValueError, match="offset"):
        instant_us("2026-01-01T00:00:00")
