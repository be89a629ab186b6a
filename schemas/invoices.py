"""Invoices: queries and answers. They are computed on demand, or read from the customer's state once they are final."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.catalog import BalanceType
from engine.invoices.breakdown import Breakdown
from engine.invoices.items import Invoice, InvoiceType, ItemType, LineItem
from engine.numbers import decimal_text
from engine.periods import HOUR_US
from schemas.common import Answer, Id, Instant, OutInstant, OutNumber, PageQuery, Query, Text, Upper, rfc3339
from schemas.documents import Document, instant_text, instant_us
from schemas.pricing_units import CreditType, credit_type
from schemas.product_states import as_of

HOURS_A_PAGE = {"DAY": 35 * 24, "HOUR": 24}
"""So much time one page of breakdowns covers at most, by window size."""

_Status = Annotated[Literal["DRAFT", "FINALIZED", "VOID"], Upper]
_Sort = Literal["date_asc", "date_desc"]


class InvoiceListQuery(PageQuery):
    """``starting_on``, ``ending_before``: only billing periods that lie within."""

    status: _Status | None = None
    type: Annotated[Literal["USAGE", "USAGE_CONSOLIDATED", "SCHEDULED"], Upper] | None = None
    sort: _Sort = "date_asc"
    credit_type_id: Id | None = None
    contract_id: Id | None = None
    starting_on: Instant | None = None
    ending_before: Instant | None = None
    skip_zero_qty_line_items: bool = False
    include_historical_commit_invoices: bool = Field(
        default=False, description="Changes nothing: invoices of commits, those of past ones included, are always among them."
    )
    webhook_notification_id: Text | None = Field(default=None, description="Who asks; changes nothing.")


class InvoiceQuery(Query):
    skip_zero_qty_line_items: bool = False


class BreakdownQuery(PageQuery):
    """Only windows that lie within ``starting_on`` and ``ending_before``."""

    starting_on: Instant
    ending_before: Instant
    window_size: Annotated[Literal["HOUR", "DAY"], Upper] = "DAY"
    status: _Status | None = None
    sort: _Sort = "date_asc"
    credit_type_id: Id | None = None
    skip_zero_qty_line_items: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> BreakdownQuery:
        if self.ending_before <= self.starting_on:
            raise ValueError("ending_before must be after starting_on")
        return self

    def hours(self) -> tuple[int, int]:
        """The whole hours within."""
        return -(-instant_us(rfc3339(self.starting_on)) // HOUR_US), instant_us(rfc3339(self.ending_before)) // HOUR_US


class TierAnswer(Answer):
    """``starting_at`` and ``size`` are texts in the API."""

    level: int
    starting_at: str
    size: str | None = None


class AppliedAnswer(Answer):
    id: str
    type: str
    access_type: str


class PostpaidAnswer(Answer):
    """Of the line that trues a postpaid commit up."""

    id: str


class LineItemAnswer(Answer):
    type: str
    name: str
    total: OutNumber
    credit_type: CreditType
    starting_at: OutInstant | None = None
    ending_before: OutInstant | None = None
    quantity: OutNumber | None = None
    unit_price: OutNumber | None = None
    product_id: str | None = None
    product_type: str | None = None
    product_tags: list[str] | None = None
    product_custom_fields: dict[str, str] | None = None
    pricing_group_values: dict[str, str] | None = None
    presentation_group_values: dict[str, str | None] | None = None
    tier: TierAnswer | None = None
    subscription_id: str | None = None
    subscription_custom_fields: dict[str, str] | None = None
    commit_id: str | None = None
    commit_segment_id: str | None = None
    commit_type: str | None = None
    commit_custom_fields: dict[str, str] | None = None
    applied_commit_or_credit: AppliedAnswer | None = None
    postpaid_commit: PostpaidAnswer | None = None
    scheduled_charge_id: str | None = None
    scheduled_charge_custom_fields: dict[str, str] | None = None


class InvoiceAnswer(Answer):
    id: str
    customer_id: str
    contract_id: str
    type: str
    status: str
    credit_type: CreditType
    total: OutNumber
    start_timestamp: OutInstant | None = None
    end_timestamp: OutInstant | None = None
    issued_at: OutInstant
    line_items: list[LineItemAnswer]
    net_payment_terms_days: OutNumber | None = None
    netsuite_sales_order_id: str | None = None
    salesforce_opportunity_id: str | None = None
    contract_custom_fields: dict[str, str]
    customer_custom_fields: dict[str, str]
    custom_fields: dict[str, str]
    billable_status: Literal["billable"] = Field(description="There are no customers that are not to be billed.")
    external_invoice: None


class BreakdownAnswer(InvoiceAnswer):
    breakdown_start_timestamp: OutInstant
    breakdown_end_timestamp: OutInstant


_FIXED = frozenset({ItemType.SCHEDULED, ItemType.COMMIT_PURCHASE})
"""Types of items that are charged on a date, and not for a stretch of time."""
_PRODUCT_TYPES = {
    "USAGE": "UsageProductListItem",
    "SUBSCRIPTION": "SubscriptionProductListItem",
    "COMPOSITE": "CompositeProductListItem",
    "FIXED": "FixedProductListItem",
}


class Names:
    """What an invoice's answer takes from documents: names, tags, custom fields."""

    def __init__(self, customer: Document, products: Mapping[str, Document], units: dict[str, Document]) -> None:
        self.customer = customer
        self.contracts = {contract["id"]: contract for contract in customer["contracts"]}
        self.balances = {balance["id"]: balance for balance in customer.get("balances") or ()}
        for balance in tuple(self.balances.values()):
            self.balances.update((share["id"], balance) for share in balance.get("shares", {}).values())
        self.products = products
        self.units = units
        self.charges = {
            charge["id"]: charge for contract in customer["contracts"] for charge in contract.get("scheduled_charges") or ()
        }

    def payer(self, item: LineItem) -> Document:
        """The balance that paid. A final invoice may name one that its recurring commit or credit does not make any more, because
        the contract was ended before it."""
        unknown: Document = {
            "id": item.balance_id,
            "type": item.balance_type,
            "custom_fields": {},
            "access_schedule": {},
            "product_id": None,
        }
        found: Document = self.balances.get(item.balance_id or "", unknown)
        return found

    def subscription_fields(self, item: LineItem) -> dict[str, str]:
        """The custom fields of the subscription that an item charges."""
        every = (each for contract in self.contracts.values() for each in contract.get("subscriptions") or ())
        return next((each["custom_fields"] for each in every if each["id"] == item.subscription_id), {})

    def applied(self, balance: Document, otherwise: str) -> str:
        """The name of a balance's payments."""
        product_id = balance["product_id"]
        return otherwise if product_id is None else f"{self.products[product_id]['current']['name']} applied"


def _hour_text(hour: int) -> str:
    return instant_text(hour * HOUR_US)


def _paid_by(item: LineItem, names: Names) -> Document:
    """The balance that paid all of a usage line, or that an applied line is of."""
    if item.balance_id is None:
        return {}
    balance = names.payer(item)
    fields: Document = {
        "commit_id": balance["id"],
        "commit_segment_id": item.segment_id,
        "commit_type": "PostpaidCommit" if balance["type"] == BalanceType.POSTPAID else "PrepaidCommit",
        "commit_custom_fields": balance["custom_fields"],
    }
    if item.type is ItemType.COMMIT_PURCHASE and balance["type"] == BalanceType.POSTPAID:
        fields["postpaid_commit"] = {"id": item.balance_id}
    if item.type is ItemType.APPLIED:
        access_type = balance["access_schedule"].get("access_type", "SPEND")
        fields["name"] = names.applied(balance, item.name)
        fields["applied_commit_or_credit"] = {"id": balance["id"], "type": balance["type"], "access_type": access_type}
    return fields


def _line_item(item: LineItem, names: Names) -> Document:
    start, end = _hour_text(item.starting_hour), _hour_text(item.ending_hour)
    fields: Document = {
        "type": item.type.value,
        "name": item.name,
        "total": item.total,
        "credit_type": credit_type(names.units, item.credit_type_id),
        **({} if item.type in _FIXED else {"starting_at": start, "ending_before": end}),
        "quantity": item.quantity,
        "unit_price": item.unit_price,
        "pricing_group_values": dict(item.pricing_group_values) or None,
        "presentation_group_values": dict(item.presentation_group_values) or None,
        **_paid_by(item, names),
    }
    if item.product_id is not None:
        product = as_of(names.products[item.product_id], start)
        tags = sorted(item.product_tags) if item.type not in _FIXED else product["current"].get("tags") or []
        fields |= {
            "name": fields["name"] or product["current"]["name"],
            "product_id": item.product_id,
            "product_type": _PRODUCT_TYPES[product["type"]],
            "product_tags": tags,
            "product_custom_fields": product.get("custom_fields") or {},
        }
    if item.scheduled_charge_id is not None:
        fields["scheduled_charge_id"] = item.scheduled_charge_id
        fields["scheduled_charge_custom_fields"] = names.charges[item.scheduled_charge_id]["custom_fields"]
    if item.subscription_id is not None:
        fields |= {"subscription_id": item.subscription_id, "subscription_custom_fields": names.subscription_fields(item)}
    if item.tier is not None:
        size = {} if item.tier.size is None else {"size": decimal_text(item.tier.size)}
        fields["tier"] = {"level": item.tier.level, "starting_at": decimal_text(item.tier.starting_at), **size}
    return {name: value for name, value in fields.items() if value is not None}


def _service_period(invoice: Invoice) -> Document:
    start, end = invoice.period
    return {"start_timestamp": _hour_text(start), "end_timestamp": _hour_text(end)}


def _invoice(invoice: Invoice, names: Names, *, skip_zero: bool) -> Document:
    contract = names.contracts[invoice.contract_id]
    shown: Document = {
        "id": invoice.id,
        "customer_id": invoice.customer_id,
        "contract_id": invoice.contract_id,
        "type": invoice.type.value,
        "status": invoice.status.value,
        "credit_type": credit_type(names.units, invoice.credit_type_id),
        "total": invoice.total,
        **({} if invoice.type is InvoiceType.SCHEDULED else _service_period(invoice)),
        "issued_at": instant_text(invoice.issued_us),
        "line_items": [_line_item(item, names) for item in invoice.line_items if item.quantity != 0 or not skip_zero],
        "contract_custom_fields": contract["custom_fields"],
        "customer_custom_fields": names.customer["custom_fields"],
        "custom_fields": {},
        "billable_status": "billable",
        "external_invoice": None,
    }
    for name in ("net_payment_terms_days", "netsuite_sales_order_id", "salesforce_opportunity_id"):
        if contract[name] is not None:
            shown[name] = contract[name]
    return shown


def invoice_answer(invoice: Invoice, names: Names, *, skip_zero: bool) -> InvoiceAnswer:
    return InvoiceAnswer.model_validate(_invoice(invoice, names, skip_zero=skip_zero))


def breakdown_answer(breakdown: Breakdown, names: Names, *, skip_zero: bool) -> BreakdownAnswer:
    return BreakdownAnswer.model_validate(
        {
            **_invoice(breakdown.invoice, names, skip_zero=skip_zero),
            "breakdown_start_timestamp": _hour_text(breakdown.starting_hour),
            "breakdown_end_timestamp": _hour_text(breakdown.ending_hour),
        }
    )


def wanted(invoice: Invoice, query: InvoiceListQuery) -> bool:
    """Whether the filters of a list request let an invoice through. A SCHEDULED one has a date instead of a billing period."""
    start = end = invoice.issued_us
    if invoice.type is InvoiceType.USAGE:
        start, end = invoice.period.starting_hour * HOUR_US, invoice.period.ending_hour * HOUR_US
    return (
        query.type in (None, invoice.type.value)
        and query.status in (None, invoice.status.value)
        and query.credit_type_id in (None, invoice.credit_type_id)
        and query.contract_id in (None, invoice.contract_id)
        and (query.starting_on is None or start >= instant_us(rfc3339(query.starting_on)))
        and (query.ending_before is None or end <= instant_us(rfc3339(query.ending_before)))
    )
