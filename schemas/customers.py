"""Customers: bodies, answers, and the stored document (which also holds the customer's contracts and own alerts)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from schemas.billing_configurations import NewBillingConfigurations
from schemas.common import Answer, Body, CustomFields, Id, Key, OutInstant, PageQuery, Text, Unsupported, distinct
from schemas.documents import Document
from schemas.texts import one_line

NAME_CHARACTERS_MAX = 160
Aliases = Annotated[list[Key], Field(max_length=2000), AfterValidator(distinct)]
_CutName = Annotated[
    str, StringConstraints(min_length=1), AfterValidator(one_line), AfterValidator(lambda name: name[:NAME_CHARACTERS_MAX])
]


class CustomerCreate(Body):
    name: _CutName
    ingest_aliases: Aliases = Field(default_factory=list)
    external_id: Key | None = Field(default=None, description="Deprecated: one more ingest alias.")
    custom_fields: CustomFields = Field(default_factory=dict)
    billing_config: Unsupported = None
    customer_billing_provider_configurations: NewBillingConfigurations = Field(default_factory=list)
    customer_revenue_system_configurations: Unsupported = None

    def aliases(self) -> list[str]:
        extra = [self.external_id] if self.external_id and self.external_id not in self.ingest_aliases else []
        return [*self.ingest_aliases, *extra]


class CustomerArchive(Body):
    id: Id


class SetIngestAliases(Body):
    ingest_aliases: Aliases


class SetName(Body):
    name: _CutName


class UpdateConfig(Body):
    salesforce_account_id: Annotated[str, StringConstraints(max_length=512)] | None = None
    leave_stripe_invoices_in_draft: bool | None = Field(default=None, description="Kept; no invoice is sent to Stripe.")


class CustomerListQuery(PageQuery):
    ingest_alias: Text | None = None
    customer_ids: list[Text] = Field(default_factory=list)
    only_archived: bool = False
    salesforce_account_ids: list[Text] = Field(default_factory=list)


class Customer(Answer):
    id: str
    external_id: str
    ingest_aliases: list[str]
    name: str
    custom_fields: dict[str, str]


class CustomerConfigAnswer(Answer):
    salesforce_account_id: str | None = None


class CustomerDetail(Customer):
    created_at: OutInstant
    updated_at: OutInstant
    archived_at: OutInstant | None
    customer_config: CustomerConfigAnswer


def customer_document(body: CustomerCreate, customer_id: str, now: str) -> Document:
    return {
        "id": customer_id,
        "version": 1,
        "name": body.name,
        "ingest_aliases": body.aliases(),
        "custom_fields": body.custom_fields,
        "customer_config": {"salesforce_account_id": None},
        "created_at": now,
        "updated_at": now,
        "archived_at": None,
        "contracts": [],
        "alerts": [],
    }


def _shown(document: Document) -> dict[str, Any]:
    """``external_id`` is the first name by which usage events may call the customer."""
    aliases = document["ingest_aliases"]
    return {**document, "external_id": aliases[0] if aliases else document["id"]}


def customer_answer(document: Document) -> Customer:
    return Customer.model_validate(_shown(document))


def customer_detail(document: Document) -> CustomerDetail:
    return CustomerDetail.model_validate(_shown(document))
