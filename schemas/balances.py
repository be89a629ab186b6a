"""Reading commits and credits: lists, their filters, rows with balance and ledger; the net balance; manual ledger entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from engine.balances.ledger import BalanceStatement, LedgerEntry
from engine.catalog import USD_CENTS
from schemas.commits import AccessType
from schemas.common import (
    Answer,
    Body,
    Cursor,
    CustomFields,
    Id,
    Instant,
    Number,
    OutInstant,
    OutNumber,
    PropertyValue,
    UniquenessKey,
    Upper,
    rfc3339,
)
from schemas.documents import Document, instant_text, instant_us
from schemas.invoice_schedules import InvoiceScheduleAnswer, schedule_answer
from schemas.pricing_units import CreditType, credit_type

FILTERS_MAX = 100
IDS_MAX = 1_000
NO_CREDIT_TYPE = "00000000-0000-0000-0000-000000000000"
"""What stands for the credit type of units of usage."""

Reason = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class _BalanceList(Body):
    """Pages in style C. Dates pick balances by their segments."""

    customer_id: Id
    access_type: AccessType | None = None
    covering_date: Instant | None = None
    starting_at: Instant | None = None
    effective_before: Instant | None = None
    include_archived: bool = False
    include_balance: bool = False
    include_ledgers: bool = False
    limit: Annotated[int, Field(ge=1, le=25)] = 25
    next_page: Cursor | None = None


class CommitList(_BalanceList):
    commit_id: Id | None = None
    include_contract_commits: bool = False


class CreditList(_BalanceList):
    credit_id: Id | None = None
    include_contract_credits: bool = False


class BalanceList(_BalanceList):
    id: Id | None = None
    include_contract_balances: bool = False
    exclude_zero_balances: bool = False


class BalanceFilter(Body):
    """All parts that are given must hold."""

    balance_types: list[Annotated[Literal["PREPAID_COMMIT", "POSTPAID_COMMIT", "CREDIT"], Upper]] | None = None
    ids: Annotated[list[Id], Field(max_length=IDS_MAX)] | None = None
    custom_fields: CustomFields | None = None


class NetBalanceBody(Body):
    customer_id: Id
    credit_type_id: Id = USD_CENTS
    access_type: AccessType = "SPEND"
    filters: Annotated[list[BalanceFilter], Field(max_length=FILTERS_MAX)] = Field(
        default_factory=list, description="A balance counts if any of them lets it through; without any, all count."
    )
    invoice_inclusion_mode: Annotated[Literal["FINALIZED", "FINALIZED_AND_DRAFT"], Upper] = "FINALIZED_AND_DRAFT"

    @model_validator(mode="after")
    def _units_have_no_credit_type(self) -> NetBalanceBody:
        if self.access_type == "QUANTITY" and "credit_type_id" in self.model_fields_set:
            raise ValueError("credit_type_id must not be given when access_type is QUANTITY")
        return self


class ManualEntryBody(Body):
    """``amount`` below zero draws down. ``timestamp`` absent: the segment's start."""

    customer_id: Id
    contract_id: Id | None = None
    id: Id
    segment_id: Id
    amount: Number
    reason: Reason
    timestamp: Instant | None = None
    per_group_amounts: Annotated[dict[PropertyValue, Number], Field(min_length=1, max_length=1_000)] | None = Field(
        default=None, description="By seat id; of commits and credits with INDIVIDUAL allocation. They add up to the amount."
    )
    uniqueness_key: UniquenessKey | None = None


class _Ref(Answer):
    id: str


class _Named(Answer):
    id: str
    name: str


class AccessItemAnswer(Answer):
    id: str
    amount: OutNumber
    starting_at: OutInstant
    ending_before: OutInstant


class AccessScheduleAnswer(Answer):
    access_type: str
    credit_type: CreditType | None = None
    schedule_items: list[AccessItemAnswer]


class SpecifierAnswer(Answer):
    product_id: str | None = None
    product_tags: list[str] | None = None
    pricing_group_values: dict[str, str] | None = None
    presentation_group_values: dict[str, str] | None = None


class LedgerEntryAnswer(Answer):
    type: str
    timestamp: OutInstant
    amount: OutNumber
    segment_id: str
    invoice_id: str | None = None
    reason: str | None = None
    new_contract_id: str | None = None


class RolledOverFrom(Answer):
    contract_id: str
    commit_id: str | None = None
    credit_id: str | None = None


class BalanceAnswer(Answer):
    """A commit (``type`` PREPAID or POSTPAID) or a credit (CREDIT)."""

    id: str
    type: str
    product: _Named
    created_at: OutInstant
    created_by: str
    access_schedule: AccessScheduleAnswer
    invoice_schedule: InvoiceScheduleAnswer | None = None
    contract: _Ref | None = None
    invoice_contract: _Ref | None = None
    name: str | None = None
    description: str | None = None
    priority: OutNumber | None = None
    rate_type: str
    applicable_contract_ids: list[str] | None = None
    applicable_product_ids: list[str] | None = None
    applicable_product_tags: list[str] | None = None
    specifiers: list[SpecifierAnswer] | None = None
    custom_fields: dict[str, str]
    netsuite_sales_order_id: str | None = None
    salesforce_opportunity_id: str | None = None
    uniqueness_key: str | None = None
    archived_at: OutInstant | None = None
    rollover_fraction: OutNumber | None = None
    rolled_over_from: RolledOverFrom | None = None
    recurring_commit_id: str | None = Field(default=None, description="Of the recurring commit that made it.")
    recurring_credit_id: str | None = Field(default=None, description="Of the recurring credit that made it.")
    balance: OutNumber | None = None
    ledger: list[LedgerEntryAnswer] | None = None


class NetBalance(Answer):
    balance: OutNumber
    credit_type_id: str


def _ledger_entry(entry: LedgerEntry) -> Document:
    fields = {
        "type": entry.type,
        "timestamp": instant_text(entry.timestamp_us),
        "amount": entry.amount,
        "segment_id": entry.segment_id,
        "invoice_id": entry.invoice_id,
        "reason": entry.reason,
        "new_contract_id": entry.new_contract_id,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _with_amounts(schedule: Document, statement: BalanceStatement | None) -> Document:
    """Of a rolled-over balance: with what was rolled over so far."""
    if statement is None:
        return schedule
    amounts = {part.segment.id: part.segment.amount for part in statement.segments}
    items = [{**item, "amount": amounts.get(item["id"], item["amount"])} for item in schedule["schedule_items"]]
    return {**schedule, "schedule_items": items}


def _access(schedule: Document, units: dict[str, Document]) -> Document:
    access_type = schedule.get("access_type", "SPEND")
    if access_type == "QUANTITY":
        return {**schedule, "access_type": access_type}
    return {**schedule, "access_type": access_type, "credit_type": credit_type(units, schedule["credit_type_id"])}


def balance_answer(
    document: Document,
    products: Mapping[str, Document],
    units: dict[str, Document],
    statement: BalanceStatement | None = None,
    *,
    balance: bool = False,
    ledger: bool = False,
) -> BalanceAnswer:
    """``products``, ``units``: by id. ``balance``, ``ledger``: whether to show what ``statement`` says of them; an archived
    balance has no statement: nothing is left of it."""
    contract_id, invoice_contract_id = document["contract_id"], document["invoice_contract_id"]
    product = products[document["product_id"]]
    invoices = document["invoice_schedule"]
    shown = {
        **document,
        "product": {"id": product["id"], "name": product["current"]["name"]},
        "rate_type": document.get("rate_type", "LIST_RATE"),
        "access_schedule": _access(document["access_schedule"], units),
        "invoice_schedule": invoices and schedule_answer(invoices, units, invoice_contract_id, document["created_at"]),
        "contract": None if contract_id is None else {"id": contract_id},
        "invoice_contract": None if invoices is None or invoice_contract_id is None else {"id": invoice_contract_id},
        "applicable_contract_ids": document["applicable_contract_ids"] if contract_id is None else [contract_id],
    }
    if document.get("recurring_id") is not None:
        shown["recurring_credit_id" if document["type"] == "CREDIT" else "recurring_commit_id"] = document["recurring_id"]
    rolled = document.get("rolled_over_from")
    if rolled is not None:
        kind = "credit_id" if document["type"] == "CREDIT" else "commit_id"
        shown["rolled_over_from"] = {"contract_id": rolled["contract_id"], kind: rolled["balance_id"]}
        shown["access_schedule"] = _with_amounts(shown["access_schedule"], statement)
    if balance:
        shown["balance"] = Decimal(0) if statement is None else statement.remaining
    if ledger:
        shown["ledger"] = [] if statement is None else [_ledger_entry(entry) for entry in statement.ledger]
    return BalanceAnswer.model_validate({name: value for name, value in shown.items() if value is not None})


def listed_balances(customer: Document, body: CommitList | CreditList | BalanceList) -> list[Document]:
    """The balances of a customer's document that the filters of a list request let through."""
    archived = {contract["id"] for contract in customer["contracts"] if contract["archived_at"] is not None}
    if isinstance(body, CommitList):
        types, wanted, of_contracts = {"PREPAID", "POSTPAID"}, body.commit_id, body.include_contract_commits
    elif isinstance(body, CreditList):
        types, wanted, of_contracts = {"CREDIT"}, body.credit_id, body.include_contract_credits
    else:
        types, wanted, of_contracts = {"PREPAID", "POSTPAID", "CREDIT"}, body.id, body.include_contract_balances

    def fits(balance: Document) -> bool:
        gone = balance["archived_at"] is not None or balance["contract_id"] in archived
        return (
            balance["type"] in types
            and (wanted is None or balance["id"] == wanted)
            and (of_contracts or balance["contract_id"] is None)
            and (body.include_archived or not gone)
            and body.access_type in (None, balance["access_schedule"].get("access_type", "SPEND"))
            and any(_in_time(item, body) for item in balance["access_schedule"]["schedule_items"])
        )

    return [balance for balance in customer.get("balances") or () if fits(balance)]


def _in_time(item: Document, body: _BalanceList) -> bool:
    """Whether one segment satisfies the dates of a list request."""
    start, end = instant_us(item["starting_at"]), instant_us(item["ending_before"])
    covering = None if body.covering_date is None else instant_us(rfc3339(body.covering_date))
    return (
        (covering is None or start <= covering < end)
        and (body.starting_at is None or end > instant_us(rfc3339(body.starting_at)))
        and (body.effective_before is None or start < instant_us(rfc3339(body.effective_before)))
    )


_TYPES = {"PREPAID": "PREPAID_COMMIT", "POSTPAID": "POSTPAID_COMMIT", "CREDIT": "CREDIT"}


def _passes(statement: BalanceStatement, wanted: BalanceFilter) -> bool:
    balance = statement.balance
    return (
        (wanted.balance_types is None or _TYPES[balance.type] in wanted.balance_types)
        and (wanted.ids is None or balance.id in wanted.ids)
        and (wanted.custom_fields or {}).items() <= dict(balance.custom_fields).items()
    )


def net_balance(statements: Iterable[BalanceStatement], body: NetBalanceBody) -> NetBalance:
    """What is left of all balances of the access type (SPEND: in the credit type) that any filter lets through; those of single
    seats are apart."""
    in_units = body.access_type == "QUANTITY"
    chosen = [
        each
        for each in statements
        if each.balance.access_type == body.access_type
        and (in_units or each.balance.credit_type_id == body.credit_type_id)
        and each.balance.seat is None
        and (not body.filters or any(_passes(each, wanted) for wanted in body.filters))
    ]
    final = body.invoice_inclusion_mode == "FINALIZED"
    amounts = (each.remaining_finalized if final else each.remaining for each in chosen)
    return NetBalance(balance=sum(amounts, Decimal(0)), credit_type_id=NO_CREDIT_TYPE if in_units else body.credit_type_id)
