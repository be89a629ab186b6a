"""Editing a contract: the body, and the record that its edit history keeps.

    record   {id, contract_id, timestamp, uniqueness_key?, add_commits?: [balance], add_credits?: [balance],
              archive_commits?: [{id}], archive_credits?: [{id}], add_overrides?: [override], remove_overrides?: [{id}],
              add_scheduled_charges?: [charge], update_scheduled_charges?, archive_scheduled_charges?: [{id}],
              update_contract_end_date?, update_contract_name?}

The added balances, charges and overrides are copied into the record as they were then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from schemas.balances import BalanceAnswer, balance_answer
from schemas.commits import BALANCES_A_REQUEST_MAX, Commits, Credits
from schemas.common import Answer, Body, HourInstant, Id, Name, OutInstant, UniquenessKey, Unsupported, rfc3339
from schemas.documents import Document
from schemas.overrides import OVERRIDES_MAX, Named, OverrideAnswer, OverrideBodies, override_answer
from schemas.scheduled_charges import (
    Charges,
    ChargeUpdateAnswer,
    ChargeUpdates,
    ScheduledChargeAnswer,
    ScheduledChargeUpdate,
    charge_answer,
)

EDITS_MAX = 5_000
"""Of all contracts of one customer."""
CHANGES = (
    "add_commits",
    "add_credits",
    "archive_commits",
    "archive_credits",
    "add_overrides",
    "remove_overrides",
    "add_scheduled_charges",
    "update_scheduled_charges",
    "archive_scheduled_charges",
    "update_contract_end_date",
    "update_contract_name",
)


class IdBody(Body):
    id: Id


Archived = Annotated[list[IdBody], Field(max_length=BALANCES_A_REQUEST_MAX)]


class ContractEdit(Body):
    """``update_contract_end_date`` null: open-ended from now on."""

    customer_id: Id
    contract_id: Id
    uniqueness_key: UniquenessKey | None = None
    add_commits: Commits = Field(default_factory=list)
    add_credits: Credits = Field(default_factory=list)
    archive_commits: Archived = Field(default_factory=list)
    archive_credits: Archived = Field(default_factory=list)
    add_overrides: OverrideBodies = Field(default_factory=list)
    remove_overrides: Annotated[list[IdBody], Field(max_length=OVERRIDES_MAX)] = Field(default_factory=list)
    add_scheduled_charges: Charges = Field(default_factory=list)
    update_scheduled_charges: ChargeUpdates = Field(default_factory=list)
    archive_scheduled_charges: Archived = Field(default_factory=list)
    update_contract_end_date: HourInstant | None = None
    update_contract_name: Name | None = None
    allow_contract_ending_before_finalized_invoice: bool = True
    add_billing_provider_configuration_update: Unsupported = None
    add_discounts: Unsupported = None
    add_prepaid_balance_threshold_configuration: Unsupported = None
    add_professional_services: Unsupported = None
    add_recurring_commits: Unsupported = None
    add_recurring_credits: Unsupported = None
    add_reseller_royalties: Unsupported = None
    add_revenue_system_configuration_update: Unsupported = None
    add_spend_threshold_configuration: Unsupported = None
    add_spend_trackers: Unsupported = None
    add_subscriptions: Unsupported = None
    archive_spend_trackers: Unsupported = None
    update_commits: Unsupported = None
    update_credits: Unsupported = None
    update_net_payment_terms_days: Unsupported = None
    update_prepaid_balance_threshold_configuration: Unsupported = None
    update_recurring_commits: Unsupported = None
    update_recurring_credits: Unsupported = None
    update_spend_threshold_configuration: Unsupported = None
    update_subscriptions: Unsupported = None

    @model_validator(mode="after")
    def _changes_something(self) -> ContractEdit:
        lists = (self.add_commits, self.add_credits, self.archive_commits, self.archive_credits)
        charges = (self.add_scheduled_charges, self.update_scheduled_charges, self.archive_scheduled_charges)
        if not any((*lists, *charges, self.add_overrides, self.remove_overrides)) and not self.model_fields_set & {
            "update_contract_end_date",
            "update_contract_name",
        }:
            raise ValueError(f"changes nothing: give one of {', '.join(CHANGES)}")
        return self

    def given(self, name: str) -> bool:
        """Whether the field is there, null included."""
        return name in self.model_fields_set


class EditHistoryBody(Body):
    customer_id: Id
    contract_id: Id


class _Ref(Answer):
    id: str


class Edit(Answer):
    id: str
    timestamp: OutInstant
    uniqueness_key: str | None = None
    add_commits: list[BalanceAnswer] | None = None
    add_credits: list[BalanceAnswer] | None = None
    archive_commits: list[_Ref] | None = None
    archive_credits: list[_Ref] | None = None
    add_overrides: list[OverrideAnswer] | None = None
    remove_overrides: list[_Ref] | None = None
    add_scheduled_charges: list[ScheduledChargeAnswer] | None = None
    update_scheduled_charges: list[ChargeUpdateAnswer] | None = None
    archive_scheduled_charges: list[_Ref] | None = None
    update_contract_end_date: OutInstant | None = None
    update_contract_name: str | None = None


class EditDone(Answer):
    id: str
    edit: Edit


def _charge_update(body: ScheduledChargeUpdate) -> Document:
    """What was asked for, as JSON."""
    return {"id": body.scheduled_charge_id, **body.model_dump(mode="json", exclude_unset=True, exclude={"scheduled_charge_id"})}


def edit_record(body: ContractEdit, edit_id: str, added: list[Document], charges: list[Document], now: str) -> Document:
    """``added``, ``charges``: the documents of the balances and scheduled charges that the edit brings."""
    record: Document = {
        "id": edit_id,
        "contract_id": body.contract_id,
        "timestamp": now,
        "uniqueness_key": body.uniqueness_key,
        "add_commits": [each for each in added if each["type"] != "CREDIT"],
        "add_credits": [each for each in added if each["type"] == "CREDIT"],
        "archive_commits": [{"id": each.id} for each in body.archive_commits],
        "archive_credits": [{"id": each.id} for each in body.archive_credits],
        "remove_overrides": [{"id": each.id} for each in body.remove_overrides],
        "add_scheduled_charges": charges,
        "update_scheduled_charges": [_charge_update(each) for each in body.update_scheduled_charges],
        "archive_scheduled_charges": [{"id": each.id} for each in body.archive_scheduled_charges],
    }
    record = {name: value for name, value in record.items() if value}
    if body.given("update_contract_end_date"):
        end = body.update_contract_end_date
        record["update_contract_end_date"] = None if end is None else rfc3339(end)
    if body.given("update_contract_name"):
        record["update_contract_name"] = body.update_contract_name
    return record


def edit_answer(record: Document, products: Mapping[str, Document], units: dict[str, Document]) -> Edit:
    shown: dict[str, Any] = dict(record)
    for name in ("add_commits", "add_credits"):
        if name in record:
            shown[name] = [balance_answer(each, products, units) for each in record[name]]
    if "add_scheduled_charges" in record:
        charges = record["add_scheduled_charges"]
        shown["add_scheduled_charges"] = [charge_answer(each, products, units, record["contract_id"]) for each in charges]
    if "add_overrides" in record:
        shown["add_overrides"] = [override_answer(each, Named(products, units)) for each in record["add_overrides"]]
    return Edit.model_validate(shown)
