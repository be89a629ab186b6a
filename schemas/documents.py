"""Stored JSON documents -> the engine's configuration.

The API writes these documents, the worker reads them; both go through this module's understanding of their fields.
Decimals are stored as text, instants as RFC 3339 in UTC. A document that does not load is a defect of ours, so the errors
(KeyError, ValueError) are not caught here.

    metric      {id, name, aggregation_type, aggregation_key?, event_type_filter?, property_filters?, group_keys?, archived_at?}
    product     {id, type, initial: {name, billable_metric_id?, pricing_group_key?, ...}, updates?, archived_at?}
                (schemas.product_states)
    rate card   {id, fiat_credit_type_id, rates: [{product_id, rate_type, price | tiers, starting_at, ...}]}
    alert       {id, type, name, threshold, created_version, version, evaluate_on_create, customer_id?, credit_type_id?,
                 billable_metric_id?, group_values?, custom_field_filters?, invoice_types_filter?, alert_specifiers?,
                 archived_at?}
    customer    {id, version, contracts: [...], alerts: [...], archived_at?, balances?, ledger_entries?}
                (the latter two: schemas.balance_documents), voided_invoices?: [{id, voided_at, regenerated_at?}]
    contract    {id, rate_card_id?, starting_at, ending_before?, usage_statement_schedule: {frequency, billing_anchor_date},
                 overrides?, usage_filters? (schemas.override_documents), multiplier_override_prioritization?,
                 scheduled_charges? (schemas.charge_documents), scheduled_charges_on_usage_invoices?, archived_at?,
                 voids_invoices?, subscriptions?, recurring? (schemas.recurring_documents)}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import orjson

from engine.catalog import (
    USD_CENTS,
    AccessType,
    Aggregation,
    Alert,
    AlertSpecifier,
    AlertType,
    BillableMetric,
    BillingSchedule,
    Catalog,
    CommitRate,
    Contract,
    CustomerConfig,
    CustomFieldFilter,
    Entity,
    Frequency,
    Operation,
    Product,
    ProductState,
    ProductType,
    PropertyFilter,
    QuantityConversion,
    QuantityRounding,
    Rate,
    RateCard,
    RateType,
    RoundingMethod,
    Tier,
)
from engine.versions import current
from schemas.balance_documents import balances_of
from schemas.charge_documents import scheduled_charges_of
from schemas.numbers import document_default
from schemas.override_documents import overrides_of, usage_filters_of
from schemas.product_states import first_state, states
from schemas.recurring_documents import recurring_in, subscriptions_of

Document = dict[str, Any]
_T = TypeVar("_T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
HOUR_US = 3_600_000_000


def encode(document: Mapping[str, Any]) -> bytes:
    """The stored form of a document."""
    return orjson.dumps(document, default=document_default)


def instant_us(text: str) -> int:
    """RFC 3339 -> microseconds since the epoch. Raises ValueError for a text without an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset")
    return (moment - _EPOCH) // _MICROSECOND


def instant_text(instant: int) -> str:
    """Microseconds since the epoch -> RFC 3339 in UTC, with as many fractional digits as are needed."""
    moment = _EPOCH + timedelta(microseconds=instant)
    return moment.isoformat().replace("+00:00", "Z")


def _hour(text: str) -> int:
    hour, rest = divmod(instant_us(text), HOUR_US)
    if rest:
        raise ValueError(f"{text!r} is not on the hour")
    return hour


def _optional_hour(text: str | None) -> int | None:
    return None if text is None else _hour(text)


def _optional_us(text: str | None) -> int | None:
    return None if text is None else instant_us(text)


def _values(values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)


def metric_of(document: Document) -> BillableMetric:
    event_types = document.get("event_type_filter") or {}
    return BillableMetric(
        id=document["id"],
        name=document["name"],
        aggregation=Aggregation(document["aggregation_type"]),
        aggregation_key=document.get("aggregation_key"),
        event_types_in=_values(event_types.get("in_values")),
        event_types_not_in=_values(event_types.get("not_in_values")),
        property_filters=tuple(
            PropertyFilter(f["name"], f.get("exists"), _values(f.get("in_values")), _values(f.get("not_in_values")))
            for f in document.get("property_filters") or ()
        ),
        group_keys=tuple(tuple(keys) for keys in document.get("group_keys") or ()),
        archived=document.get("archived_at") is not None,
    )


def product_of(document: Document) -> Product | None:
    """None for a product that is not rated: one that is not of type USAGE, SUBSCRIPTION or COMPOSITE."""
    first = first_state(document)
    if document["type"] not in ("USAGE", "SUBSCRIPTION", "COMPOSITE"):
        return None
    product = Product(
        id=document["id"],
        name=first["name"],
        archived=document.get("archived_at") is not None,
        tags=frozenset(first.get("tags") or ()),
        type=ProductType(document["type"]),
        later=tuple(
            ProductState(_hour(since), state["name"], frozenset(state.get("tags") or ())) for since, state in states(document)
        ),
    )
    if document["type"] == "USAGE":
        return _usage_product(product, first)
    if document["type"] == "COMPOSITE":
        return replace(
            product,
            composite_product_ids=frozenset(first.get("composite_product_ids") or ()),
            composite_tags=frozenset(first.get("composite_tags") or ()),
            include_composite_spend=first.get("include_composite_spend") or False,
        )
    return product


def _usage_product(product: Product, state: Document) -> Product:
    conversion = state.get("quantity_conversion")
    rounding = state.get("quantity_rounding")
    return replace(
        product,
        metric_id=state["billable_metric_id"],
        pricing_group_key=tuple(state.get("pricing_group_key") or ()),
        presentation_group_key=tuple(state.get("presentation_group_key") or ()),
        conversion=conversion
        and QuantityConversion(Decimal(conversion["conversion_factor"]), Operation(conversion["operation"])),
        rounding=rounding and QuantityRounding(RoundingMethod(rounding["rounding_method"]), rounding["decimal_places"]),
    )


def _tiers(document: Document) -> tuple[Tier, ...]:
    return tuple(
        Tier(None if tier.get("size") is None else Decimal(tier["size"]), Decimal(tier["price"]))
        for tier in document.get("tiers") or ()
    )


def _commit_rate(document: Document | None) -> CommitRate | None:
    if document is None:
        return None
    return CommitRate(RateType(document["rate_type"]), Decimal(document.get("price") or 0), _tiers(document))


def rate_of(document: Document) -> Rate:
    return Rate(
        product_id=document["product_id"],
        rate_type=RateType.FLAT if document["rate_type"] == "SUBSCRIPTION" else RateType(document["rate_type"]),
        starting_hour=_hour(document["starting_at"]),
        credit_type_id=document.get("credit_type_id") or USD_CENTS,
        price=Decimal(document.get("price") or 0),
        tiers=_tiers(document),
        ending_hour=_optional_hour(document.get("ending_before")),
        pricing_group_values=tuple(sorted((document.get("pricing_group_values") or {}).items())),
        entitled=document["entitled"],
        commit_rate=_commit_rate(document.get("commit_rate")),
        minimum=Decimal(document["minimum_config"]["minimum"]) if document.get("minimum_config") else None,
        billing_frequency=None if document.get("billing_frequency") is None else Frequency(document["billing_frequency"]),
    )


def rate_card_of(document: Document) -> RateCard:
    return RateCard(
        id=document["id"],
        rates=tuple(rate_of(rate) for rate in document["rates"]),
        fiat_credit_type_id=document.get("fiat_credit_type_id") or USD_CENTS,
        conversions=tuple(
            (each["custom_credit_type_id"], Decimal(each["fiat_per_custom_credit"]))
            for each in document.get("credit_type_conversions") or ()
        ),
    )


def alert_of(document: Document) -> Alert:
    """Raises ValueError for an alert type that the engine does not evaluate: such an alert must not be stored."""
    return Alert(
        id=document["id"],
        type=AlertType(document["type"]),
        name=document["name"],
        threshold=Decimal(document["threshold"]),
        created_version=document["created_version"],
        customer_id=document.get("customer_id"),
        credit_type_id=document.get("credit_type_id") or USD_CENTS,
        metric_id=document.get("billable_metric_id"),
        group_values=tuple((group["key"], group.get("value")) for group in document.get("group_values") or ()),
        evaluate_on_create=document["evaluate_on_create"],
        version=document["version"],
        custom_field_filters=_field_filters(document),
        invoice_types=_values(document.get("invoice_types_filter") or None),
        access_type=AccessType(document.get("access_type") or "SPEND"),
        seat_filter=_seat_filter(document),
        uniqueness_key=document.get("uniqueness_key"),
        specifiers=tuple(
            AlertSpecifier(_field_filters(each), tuple(_field_filters(entry) for entry in each.get("exclude") or ()))
            for each in document.get("alert_specifiers") or ()
        ),
    )


def _seat_filter(document: Document) -> tuple[str, str | None] | None:
    found = document.get("seat_filter")
    return None if found is None else (found["seat_group_key"], found.get("seat_group_value"))


def _field_filters(document: Document) -> tuple[CustomFieldFilter, ...]:
    """A filter without a value is the key of a keyed alert."""
    return tuple(
        CustomFieldFilter(Entity(each["entity"]), each["key"], each.get("value"))
        for each in document.get("custom_field_filters") or ()
    )


def contract_of(document: Document, entries: Iterable[Document] = ()) -> Contract:
    """``entries``: its customer's manual ledger entries."""
    schedule = document["usage_statement_schedule"]
    return Contract(
        id=document["id"],
        rate_card_id=document.get("rate_card_id"),
        starting_hour=_hour(document["starting_at"]),
        ending_hour=_optional_hour(document.get("ending_before")),
        schedule=BillingSchedule(Frequency(schedule["frequency"]), instant_us(schedule["billing_anchor_date"])),
        overrides=overrides_of(document),
        explicit_priorities=document.get("multiplier_override_prioritization") == "EXPLICIT",
        usage_filters=usage_filters_of(document),
        custom_fields=tuple(sorted((document.get("custom_fields") or {}).items())),
        subscriptions=subscriptions_of(document),
        recurring=recurring_in(document, entries),
        scheduled_charges=scheduled_charges_of(document),
        charges_on_usage_invoices=document.get("scheduled_charges_on_usage_invoices") == "ALL",
        archived_us=_optional_us(document.get("archived_at")),
        voids_invoices=document.get("voids_invoices", False),
    )


def _live(documents: Iterable[Document]) -> Iterable[Document]:
    return (document for document in documents if document.get("archived_at") is None)


def customer_of(document: Document) -> CustomerConfig:
    """Archived alerts are left out. Archived contracts count as never made, but for what they invoiced until then."""
    entries = document.get("ledger_entries") or ()
    return CustomerConfig(
        id=document["id"],
        version=document["version"],
        contracts=tuple(contract_of(contract, entries) for contract in _live(document["contracts"])),
        alerts=tuple(alert_of(alert) for alert in _live(document["alerts"])),
        archived=document.get("archived_at") is not None,
        balances=balances_of(document),
        archived_contracts=tuple(
            contract_of(each, entries) for each in document["contracts"] if each.get("archived_at") is not None
        ),
        regenerated=tuple(each["id"] for each in document.get("voided_invoices") or () if "regenerated_at" in each),
        voided=tuple((each["id"], instant_us(each["voided_at"])) for each in document.get("voided_invoices") or ()),
        name=document.get("name"),
        aliases=tuple(document.get("ingest_aliases") or ()),
    )


class UnreadableDocument(ValueError):
    """A document of the catalog that this release cannot read: the message names it, and why."""


def load_customer(raw: bytes | str) -> CustomerConfig:
    """Raises StoredByNewerRelease, and KeyError or ValueError (an enum's unknown value) for what is a defect of ours."""
    document = orjson.loads(raw)
    return customer_of(current("customer", document["id"], document))


def load_catalog(revision: int, parts: Mapping[str, Mapping[str, bytes]]) -> Catalog:
    """``parts``: kind -> id -> JSON. Kinds that the engine does not know (endpoints, pricing units) are passed over.

    Alerts are ordered by the revision that brought them, so that every process holds them in one order.
    Raises UnreadableDocument: what customers would be evaluated under is not known then, so nobody may be.
    """

    def read(kind: str, of: Callable[[Document], _T]) -> list[_T]:
        found = []
        for document_id, raw in parts.get(kind, {}).items():
            try:
                document = current("catalog", f"{kind}/{document_id}", orjson.loads(raw))
                if kind != "alerts" or document.get("archived_at") is None:
                    found.append(of(document))
            except Exception as error:
                raise UnreadableDocument(f"{kind} {document_id}: {type(error).__name__}: {error}") from error
        return found

    metrics = read("metrics", metric_of)
    products = read("products", product_of)
    cards = read("rate_cards", rate_card_of)
    alerts = read("alerts", alert_of)
    return Catalog(
        revision=revision,
        metrics={metric.id: metric for metric in metrics},
        products={product.id: product for product in products if product is not None},
        rate_cards={card.id: card for card in cards},
        alerts=tuple(sorted(alerts, key=lambda alert: (alert.created_version, alert.id))),
    )
