"""Commits and credits as requests, and the document of one: what a customer has paid for in advance, or was given.

    contracts/create  commits[], credits[] ──┐
    contracts/edit    add_commits[], ...     ├──► balance document ──► engine.catalog.Balance (schemas.balance_documents)
    customerCommits/create, ...              ──┘

The customer's document holds all of them in one list ("balances"), those of its contracts included.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from engine.catalog import USD_CENTS
from schemas.common import (
    Body,
    CustomFields,
    HourInstant,
    Id,
    Instant,
    Key,
    Name,
    NotNegative,
    Number,
    PropertyValue,
    UniquenessKey,
    Unsupported,
    Upper,
    rfc3339,
)
from schemas.documents import Document
from schemas.invoice_schedules import SCHEDULE_ITEMS_MAX, InvoiceSchedule, NewId, schedule_document
from schemas.products import CREATED_BY, Ids, Tags

SPECIFIERS_MAX = 100
BALANCES_A_REQUEST_MAX = 100

Description = Annotated[str, StringConstraints(max_length=4096)]
GroupValues = Annotated[dict[Key, PropertyValue], Field(min_length=1, max_length=10)]


def only(name: str, supported: str, *later: str) -> Any:
    """For an enum of which one value is supported so far: the ``later`` ones are known, and answered by 501."""

    def check(value: object) -> object:
        folded = value.upper() if isinstance(value, str) else value
        if folded in later:
            raise PydanticCustomError("unsupported", "{name} {value} is not supported yet", {"name": name, "value": folded})
        return folded

    return Annotated[Literal[supported], BeforeValidator(check)]


def _at_most_all(value: Decimal) -> Decimal:
    if value > 1:
        raise ValueError("must be a fraction from 0 to 1")
    return value


Fraction = Annotated[NotNegative, AfterValidator(_at_most_all)]
AccessType = Annotated[Literal["SPEND", "QUANTITY"], Upper]
RateType = Annotated[Literal["LIST_RATE", "COMMIT_RATE"], Upper]


class AccessItem(Body):
    """One segment: ``amount`` can be drawn by usage from ``starting_at`` up to ``ending_before``, both on the hour."""

    amount: NotNegative
    starting_at: HourInstant
    ending_before: HourInstant

    @model_validator(mode="after")
    def _in_order(self) -> AccessItem:
        if self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        return self


class AccessSchedule(Body):
    """QUANTITY: amounts are units of usage, and no credit type goes with them."""

    schedule_items: Annotated[list[AccessItem], Field(min_length=1, max_length=SCHEDULE_ITEMS_MAX)]
    access_type: AccessType = "SPEND"
    credit_type_id: Id = USD_CENTS

    @model_validator(mode="after")
    def _units_have_no_credit_type(self) -> AccessSchedule:
        if self.access_type == "QUANTITY" and "credit_type_id" in self.model_fields_set:
            raise ValueError("credit_type_id must not be given when access_type is QUANTITY")
        return self


class SpecifierBody(Body):
    """Which usage: all parts that are given must hold."""

    product_id: Id | None = None
    product_tags: Tags | None = None
    pricing_group_values: GroupValues | None = None
    presentation_group_values: GroupValues | None = None
    exclude: Unsupported = None

    @model_validator(mode="after")
    def _says_something(self) -> SpecifierBody:
        if not (self.product_id or self.product_tags or self.pricing_group_values or self.presentation_group_values):
            raise ValueError("must name a product, product tags or group values")
        return self


class CreditBody(Body):
    """A credit of a contract."""

    product_id: Id = Field(description="A FIXED product, which names the balance on invoices.")
    access_schedule: AccessSchedule
    priority: Number | None = Field(default=None, description="Low numbers are drawn first.")
    applicable_product_ids: Ids = Field(default_factory=list)
    applicable_product_tags: Tags = Field(default_factory=list)
    specifiers: Annotated[list[SpecifierBody], Field(max_length=SPECIFIERS_MAX)] = Field(default_factory=list)
    name: Name | None = None
    description: Description | None = None
    custom_fields: CustomFields = Field(default_factory=dict)
    netsuite_sales_order_id: Key | None = None
    rate_type: RateType = Field(default="LIST_RATE", description="At which of a rate's prices usage is drawn.")
    rollover_fraction: Fraction | None = Field(
        default=None, description="How much of it rolls over when its contract is renewed."
    )
    hierarchy_configuration: Unsupported = None

    @model_validator(mode="after")
    def _one_kind_of_applicability(self) -> CreditBody:
        if self.specifiers and (self.applicable_product_ids or self.applicable_product_tags):
            raise ValueError("specifiers cannot be used together with applicable_product_ids or applicable_product_tags")
        return self


class CommitBody(CreditBody):
    """A commit of a contract. Without an invoice schedule a prepaid one is complimentary: it cost nothing."""

    type: Annotated[Literal["PREPAID", "POSTPAID"], Upper]
    invoice_schedule: InvoiceSchedule | None = None
    amount: Unsupported = None
    temporary_id: Key | None = Field(default=None, description="Stands for the id in commit-specific overrides of this request.")
    payment_gate_config: Unsupported = None
    spend_tracker_attributes: Unsupported = None

    @model_validator(mode="after")
    def _postpaid(self) -> CommitBody:
        if self.type == "PREPAID":
            return self
        if self.access_schedule.access_type == "QUANTITY":
            raise ValueError("a POSTPAID commit is an amount of money to be billed: its access_type is SPEND")
        if self.invoice_schedule is None or len(self.invoice_schedule.schedule_items) != 1:
            raise ValueError("a POSTPAID commit needs an invoice_schedule with one schedule item, the true-up")
        if len(self.access_schedule.schedule_items) != 1:
            raise ValueError("a POSTPAID commit has one item in its access_schedule")
        if self.access_schedule.schedule_items[0].amount != self.invoice_schedule.schedule_items[0].total():
            raise ValueError("a POSTPAID commit's access_schedule and invoice_schedule must have the same amount")
        return self


Commits = Annotated[list[CommitBody], Field(max_length=BALANCES_A_REQUEST_MAX)]
Credits = Annotated[list[CreditBody], Field(max_length=BALANCES_A_REQUEST_MAX)]


class CustomerCreditCreate(CreditBody):
    customer_id: Id
    rollover_fraction: Unsupported = None
    priority: Number
    applicable_contract_ids: Ids | None = Field(default=None, description="Absent: all contracts.")
    salesforce_opportunity_id: Key | None = None
    uniqueness_key: UniquenessKey | None = None


class CustomerCommitCreate(CommitBody):
    customer_id: Id
    rollover_fraction: Unsupported = None
    priority: Number
    applicable_contract_ids: Ids | None = Field(default=None, description="Absent: all contracts.")
    invoice_contract_id: Id | None = None
    salesforce_opportunity_id: Key | None = None
    uniqueness_key: UniquenessKey | None = None

    @model_validator(mode="after")
    def _billed_somewhere(self) -> CustomerCommitCreate:
        schedule = self.invoice_schedule
        invoiced = schedule is not None and not schedule.is_empty() and not schedule.do_not_invoice
        if (self.type == "POSTPAID" or invoiced) and self.invoice_contract_id is None:
            raise ValueError("invoice_contract_id is required for a commit that is invoiced")
        return self


class CommitUpdateEndDate(Body):
    customer_id: Id
    commit_id: Id
    access_ending_before: HourInstant | None = None
    invoices_ending_before: Instant | None = None


class CreditUpdateEndDate(Body):
    customer_id: Id
    credit_id: Id
    access_ending_before: HourInstant


def access_item(item: AccessItem, new_id: NewId) -> Document:
    return {
        "id": new_id(),
        "amount": item.amount,
        "starting_at": rfc3339(item.starting_at),
        "ending_before": rfc3339(item.ending_before),
    }


def _access(schedule: AccessSchedule, new_id: NewId) -> Document:
    items = [access_item(item, new_id) for item in schedule.schedule_items]
    return {"credit_type_id": schedule.credit_type_id, "access_type": schedule.access_type, "schedule_items": items}


def balance_document(
    body: CreditBody, new_id: NewId, now: str, *, contract_id: str | None = None, edit_id: str | None = None
) -> Document:
    """``contract_id``: of the contract that it belongs to; ``edit_id``: of the edit that added it to that contract."""
    commit = body if isinstance(body, CommitBody) else None
    invoices = None if commit is None else commit.invoice_schedule
    own = body if isinstance(body, CustomerCommitCreate | CustomerCreditCreate) else None
    return {
        "id": new_id(),
        "type": "CREDIT" if commit is None else commit.type,
        "product_id": body.product_id,
        "contract_id": contract_id,
        "edit_id": edit_id,
        "name": body.name,
        "description": body.description,
        "priority": body.priority,
        "rate_type": body.rate_type,
        "rollover_fraction": body.rollover_fraction,
        "access_schedule": _access(body.access_schedule, new_id),
        "invoice_schedule": None if invoices is None else schedule_document(invoices, new_id),
        "invoice_contract_id": own.invoice_contract_id if isinstance(own, CustomerCommitCreate) else contract_id,
        "applicable_contract_ids": None if own is None else own.applicable_contract_ids,
        "applicable_product_ids": body.applicable_product_ids,
        "applicable_product_tags": body.applicable_product_tags,
        "specifiers": [each.model_dump(exclude_none=True) for each in body.specifiers],
        "custom_fields": body.custom_fields,
        "netsuite_sales_order_id": body.netsuite_sales_order_id,
        "salesforce_opportunity_id": None if own is None else own.salesforce_opportunity_id,
        "uniqueness_key": None if own is None else own.uniqueness_key,
        "created_at": now,
        "created_by": CREATED_BY,
        "archived_at": None,
    }
