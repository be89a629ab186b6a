"""Editing a contract: the body, and the record that its edit history keeps.

    record   {id, contract_id, timestamp, uniqueness_key?, add_commits?: [balance], add_credits?: [balance],
              archive_commits?: [{id}], archive_credits?: [{id}], update_commits?, update_credits?: [{id, ...}],
              add_overrides?: [override], remove_overrides?: [{id}],
              add_scheduled_charges?: [charge], update_scheduled_charges?, archive_scheduled_charges?: [{id}],
              add_subscriptions?, add_recurring_commits?, add_recurring_credits?: [as shown], update_subscriptions?,
              update_recurring_commits?, update_recurring_credits?: [{id, ...}],
              update_contract_end_date?, update_contract_name?, update_net_payment_terms_days?}

What was added is copied into the record as it was then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, model_validator

from schemas.balance_edits import CommitUpdate, CreditUpdate
from schemas.balances import BalanceAnswer, balance_answer
from schemas.commits import BALANCES_A_REQUEST_MAX, Commits, Credits
from schemas.common import (
    Answer,
    Body,
    HourInstant,
    Id,
    Name,
    NotNegative,
    OutInstant,
    OutNumber,
    UniquenessKey,
    Unsupported,
    rfc3339,
)
from schemas.documents import Document
from schemas.overrides import OVERRIDES_MAX, Named, OverrideAnswer, OverrideBodies, override_answer
from schemas.recurring import (
    RecurringCommits,
    RecurringCommitUpdate,
    RecurringCommitUpdates,
    RecurringCredits,
    RecurringCreditUpdate,
    RecurringCreditUpdates,
)
from schemas.recurring_answers import RecurringAnswer, recurring_answer
from schemas.scheduled_charges import (
    Charges,
    ChargeUpdateAnswer,
    ChargeUpdates,
    ScheduledChargeAnswer,
    ScheduledChargeUpdate,
    charge_answer,
)
from schemas.subscription_answers import SubscriptionAnswer, subscription_answer
from schemas.subscriptions import SubscriptionBodies, SubscriptionUpdate, SubscriptionUpdates

EDITS_MAX = 5_000
"""Of all contracts of one customer."""
CHANGES = (
    "add_commits",
    "add_credits",
    "archive_commits",
    "archive_credits",
    "update_commits",
    "update_credits",
    "add_overrides",
    "remove_overrides",
    "add_subscriptions",
    "update_subscriptions",
    "add_recurring_commits",
    "add_recurring_credits",
    "update_recurring_commits",
    "update_recurring_credits",
    "add_scheduled_charges",
    "update_scheduled_charges",
    "archive_scheduled_charges",
    "update_contract_end_date",
    "update_contract_name",
    "update_net_payment_terms_days",
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
    update_commits: Annotated[list[CommitUpdate], Field(max_length=BALANCES_A_REQUEST_MAX)] = Field(default_factory=list)
    update_credits: Annotated[list[CreditUpdate], Field(max_length=BALANCES_A_REQUEST_MAX)] = Field(default_factory=list)
    add_overrides: OverrideBodies = Field(default_factory=list)
    remove_overrides: Annotated[list[IdBody], Field(max_length=OVERRIDES_MAX)] = Field(default_factory=list)
    add_subscriptions: SubscriptionBodies = Field(default_factory=list)
    update_subscriptions: SubscriptionUpdates = Field(default_factory=list)
    add_recurring_commits: RecurringCommits = Field(default_factory=list)
    add_recurring_credits: RecurringCredits = Field(default_factory=list)
    update_recurring_commits: RecurringCommitUpdates = Field(default_factory=list)
    update_recurring_credits: RecurringCreditUpdates = Field(default_factory=list)
    add_scheduled_charges: Charges = Field(default_factory=list)
    update_scheduled_charges: ChargeUpdates = Field(default_factory=list)
    archive_scheduled_charges: Archived = Field(default_factory=list)
    update_contract_end_date: HourInstant | None = None
    update_contract_name: Name | None = None
    update_net_payment_terms_days: NotNegative | None = None
    allow_contract_ending_before_finalized_invoice: bool = True
    add_billing_provider_configuration_update: Unsupported = None
    add_discounts: Unsupported = None
    add_prepaid_balance_threshold_configuration: Unsupported = None
    add_professional_services: Unsupported = None
    add_reseller_royalties: Unsupported = None
    add_revenue_system_configuration_update: Unsupported = None
    add_spend_threshold_configuration: Unsupported = None
    add_spend_trackers: Unsupported = None
    archive_spend_trackers: Unsupported = None
    update_prepaid_balance_threshold_configuration: Unsupported = None
    update_spend_threshold_configuration: Unsupported = None

    @model_validator(mode="after")
    def _changes_something(self) -> ContractEdit:
        may_be_null = ("update_contract_end_date", "update_contract_name", "update_net_payment_terms_days")
        if not any(self.given(name) if name in may_be_null else getattr(self, name) for name in CHANGES):
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
    update_commits: list[_BalanceUpdated] | None = None
    update_credits: list[_BalanceUpdated] | None = None
    add_overrides: list[OverrideAnswer] | None = None
    remove_overrides: list[_Ref] | None = None
    add_subscriptions: list[SubscriptionAnswer] | None = None
    add_recurring_commits: list[RecurringAnswer] | None = None
    add_recurring_credits: list[RecurringAnswer] | None = None
    update_subscriptions: list[_SubscriptionUpdated] | None = None
    update_recurring_commits: list[_RecurringUpdated] | None = None
    update_recurring_credits: list[_RecurringUpdated] | None = None
    add_scheduled_charges: list[ScheduledChargeAnswer] | None = None
    update_scheduled_charges: list[ChargeUpdateAnswer] | None = None
    archive_scheduled_charges: list[_Ref] | None = None
    update_contract_end_date: OutInstant | None = None
    update_contract_name: str | None = None
    update_net_payment_terms_days: OutNumber | None = None


class _ItemTold(Answer):
    """Of a schedule: as it was asked for."""

    id: str | None = None
    timestamp: OutInstant | None = None
    starting_at: OutInstant | None = None
    ending_before: OutInstant | None = None
    amount: OutNumber | None = None
    unit_price: OutNumber | None = None
    quantity: OutNumber | None = None


class _ScheduleUpdated(Answer):
    add_schedule_items: list[_ItemTold] | None = None
    remove_schedule_items: list[_Ref] | None = None
    update_schedule_items: list[_ItemTold] | None = None


class _BalanceUpdated(Answer):
    id: str
    name: str | None = None
    description: str | None = None
    product_id: str | None = None
    priority: OutNumber | None = None
    rate_type: str | None = None
    netsuite_sales_order_id: str | None = None
    rollover_fraction: OutNumber | None = None
    applicable_product_ids: list[str] | None = None
    applicable_product_tags: list[str] | None = None
    access_schedule: _ScheduleUpdated | None = None
    invoice_schedule: _ScheduleUpdated | None = None


class _QuantityUpdated(Answer):
    starting_at: OutInstant
    quantity: OutNumber | None = None
    quantity_delta: OutNumber | None = None


class _SeatIdsFrom(Answer):
    seat_ids: list[str]
    starting_at: OutInstant


class _UnassignedFrom(Answer):
    quantity: OutNumber
    starting_at: OutInstant


class _SeatsUpdated(Answer):
    add_seat_ids: list[_SeatIdsFrom] | None = None
    remove_seat_ids: list[_SeatIdsFrom] | None = None
    add_unassigned_seats: list[_UnassignedFrom] | None = None
    remove_unassigned_seats: list[_UnassignedFrom] | None = None


class _SubscriptionUpdated(Answer):
    id: str
    ending_before: OutInstant | None = None
    name: str | None = None
    quantity_updates: list[_QuantityUpdated] | None = None
    seat_updates: _SeatsUpdated | None = None


class _AmountUpdated(Answer):
    unit_price: OutNumber | None = None
    quantity: OutNumber | None = None


class _RecurringUpdated(Answer):
    id: str
    access_amount: _AmountUpdated | None = None
    invoice_amount: _AmountUpdated | None = None
    ending_before: OutInstant | None = None


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
        "update_commits": [_updated(each, each.commit_id) for each in body.update_commits],
        "update_credits": [_updated(each, each.credit_id) for each in body.update_credits],
        "remove_overrides": [{"id": each.id} for each in body.remove_overrides],
        "update_subscriptions": [_updated(each, each.subscription_id) for each in body.update_subscriptions],
        "update_recurring_commits": [_updated(each, each.recurring_id) for each in body.update_recurring_commits],
        "update_recurring_credits": [_updated(each, each.recurring_id) for each in body.update_recurring_credits],
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
    if body.given("update_net_payment_terms_days"):
        record["update_net_payment_terms_days"] = body.update_net_payment_terms_days
    return record


_Update = CommitUpdate | CreditUpdate | SubscriptionUpdate | RecurringCommitUpdate | RecurringCreditUpdate
_IDS = {"commit_id", "credit_id", "subscription_id", "recurring_commit_id", "recurring_credit_id"}


def _updated(update: _Update, changed_id: str) -> Document:
    """What an update says, instants as texts; ``ending_before`` null included."""
    fields = update.model_dump(exclude_unset=True, exclude=_IDS)
    return {"id": changed_id, **_with_texts(fields)}


def _with_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_texts(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_texts(each) for each in value]
    return rfc3339(value) if isinstance(value, datetime) else value


def added_to_record(contract: Document, edit_id: str, products: Mapping[str, Document], now_us: int) -> Document:
    """What an edit has added to a contract, as it is shown: ``contract`` is the document after the edit."""
    recurring = [each for each in contract.get("recurring") or () if each["edit_id"] == edit_id]
    subscriptions = [each for each in contract.get("subscriptions") or () if each["edit_id"] == edit_id]

    def shown(each: Document) -> Document:
        return recurring_answer(each, contract, products).model_dump(exclude_unset=True)

    found = {
        "add_subscriptions": [
            subscription_answer(each, contract, products, now_us).model_dump(exclude_unset=True) for each in subscriptions
        ],
        "add_recurring_commits": [shown(each) for each in recurring if each["type"] != "CREDIT"],
        "add_recurring_credits": [shown(each) for each in recurring if each["type"] == "CREDIT"],
    }
    return {name: rows for name, rows in found.items() if rows}


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
