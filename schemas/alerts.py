"""Alerts (threshold notifications): bodies, answers, and the stored document."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from engine.catalog import USD_CENTS
from schemas.common import (
    Answer,
    Body,
    CursorQuery,
    Id,
    Key,
    Lower,
    Name,
    Number,
    OutInstant,
    OutNumber,
    PropertyValue,
    Text,
    UniquenessKey,
    Upper,
)
from schemas.documents import Document
from schemas.pricing_units import CreditType

AlertTypeName = Annotated[
    Literal[
        "low_credit_balance_reached",
        "low_remaining_commit_balance_reached",
        "low_remaining_commit_percentage_reached",
        "low_remaining_contract_credit_and_commit_balance_reached",
        "low_remaining_contract_credit_and_commit_percentage_reached",
        "low_remaining_contract_credit_balance_reached",
        "low_remaining_contract_credit_percentage_reached",
        "low_remaining_credit_percentage_reached",
        "low_remaining_days_for_commit_segment_reached",
        "low_remaining_days_for_contract_credit_segment_reached",
        "low_remaining_days_in_plan_reached",
        "low_remaining_seat_balance_reached",
        "invoice_total_reached",
        "monthly_invoice_total_spend_threshold_reached",
        "spend_threshold_reached",
        "usage_threshold_reached",
    ],
    Lower,
]
EntityName = Literal["Contract", "Commit", "ContractCredit", "ContractCreditOrCommit"]
_ENTITY_NAMES = {name.lower(): name for name in get_args(EntityName)}
Entity = Annotated[EntityName, BeforeValidator(lambda name: _ENTITY_NAMES.get(str(name).lower(), name))]
"""In any case, as enums are; the guides themselves write ContractCreditorCommit."""

InvoiceTypeName = Annotated[Literal["USAGE", "SCHEDULED", "USAGE_CONSOLIDATED"], Upper]
CONSOLIDATED = "USAGE_CONSOLIDATED"
"""Invoices of hierarchies, which do not exist here."""

SPECIFIERS_MAX = 100
"""Of one alert, and exclusions of one specifier."""
FILTERS_MAX = 20
"""Conditions that must hold together."""


class GroupValue(Body):
    """``value`` absent: every value of the key has a state of its own."""

    key: Key
    value: PropertyValue | None = None


class ChosenGroupValue(Body):
    key: Key
    value: PropertyValue


def _distinct_keys(groups: list[Any]) -> list[Any]:
    if len({group.key for group in groups}) != len(groups):
        raise ValueError("must not name a key twice")
    return groups


class CustomFieldFilter(Body):
    entity: Entity
    key: Key
    value: Key


class SpecifierFilter(Body):
    entity: Entity
    key: Key
    value: Key | None = None


class SpecifierExclusion(Body):
    custom_field_filters: Annotated[list[CustomFieldFilter], Field(max_length=FILTERS_MAX)] = Field(default_factory=list)


class AlertSpecifier(Body):
    """A filter without ``value``: every value of the key has a state of its own."""

    custom_field_filters: Annotated[list[SpecifierFilter], Field(max_length=FILTERS_MAX)] = Field(default_factory=list)
    exclude: Annotated[list[SpecifierExclusion], Field(max_length=SPECIFIERS_MAX)] = Field(default_factory=list)


class SeatFilter(Body):
    """``seat_group_value`` absent: every seat has a state of its own."""

    seat_group_key: Key
    seat_group_value: PropertyValue | None = None


class AlertCreate(Body):
    """Which of the filters apply depends on the type (schemas.alert_rules)."""

    alert_type: AlertTypeName
    name: Name
    threshold: Number
    customer_id: Id | None = None
    uniqueness_key: UniquenessKey | None = None
    credit_type_id: Id | None = None
    billable_metric_id: Id | None = None
    group_values: Annotated[list[GroupValue], Field(max_length=10), AfterValidator(_distinct_keys)] = Field(default_factory=list)
    evaluate_on_create: bool = True
    access_type: Annotated[Literal["SPEND", "QUANTITY"], Upper] | None = None
    alert_specifiers: Annotated[list[AlertSpecifier], Field(max_length=SPECIFIERS_MAX)] = Field(default_factory=list)
    credit_grant_type_filters: list[Text] = Field(default_factory=list)
    custom_field_filters: Annotated[list[CustomFieldFilter], Field(max_length=FILTERS_MAX)] = Field(default_factory=list)
    invoice_types_filter: Annotated[list[InvoiceTypeName], Field(max_length=10)] = Field(default_factory=list)
    plan_id: Id | None = None
    seat_filter: SeatFilter | None = None


class ChosenSeat(Body):
    seat_group_key: Key
    seat_group_value: PropertyValue


class AlertArchive(Body):
    id: Id
    release_uniqueness_key: bool = False


class CustomerAlertGet(Body):
    """``group_values`` picks one group of an alert that has a state for each; ``seat_filter`` one seat; ``alert_specifiers``, or
    in their place ``custom_field_filters``, one value of an alert that has a state for each value of a custom field."""

    customer_id: Id
    alert_id: Id
    group_values: Annotated[list[ChosenGroupValue], AfterValidator(_distinct_keys)] = Field(default_factory=list)
    alert_specifiers: Annotated[list[AlertSpecifier], Field(max_length=SPECIFIERS_MAX)] = Field(default_factory=list)
    custom_field_filters: Annotated[list[CustomFieldFilter], Field(max_length=FILTERS_MAX)] = Field(default_factory=list)
    plans_or_contracts: Annotated[Literal["PLANS", "CONTRACTS"], Upper] | None = None
    seat_filter: ChosenSeat | None = None


class CustomerAlertList(Body):
    customer_id: Id
    alert_statuses: list[Annotated[Literal["ENABLED", "DISABLED", "ARCHIVED"], Upper]] = Field(
        default_factory=lambda: ["ENABLED"]  # type: ignore[arg-type]
    )


class CustomerAlertQuery(CursorQuery):
    pass


class CustomerAlertReset(Body):
    customer_id: Id
    alert_id: Id


class GroupValueAnswer(Answer):
    key: str
    value: str | None = None


class CustomFieldFilterAnswer(Answer):
    entity: EntityName
    key: str
    value: str


class SpecifierFilterAnswer(Answer):
    entity: EntityName
    key: str
    value: str | None = None


class SpecifierExclusionAnswer(Answer):
    custom_field_filters: list[CustomFieldFilterAnswer] | None = None


class AlertSpecifierAnswer(Answer):
    custom_field_filters: list[SpecifierFilterAnswer] | None = None
    exclude: list[SpecifierExclusionAnswer] | None = None


class SeatFilterAnswer(Answer):
    seat_group_key: str
    seat_group_value: str | None = None


class AlertAnswer(Answer):
    """``updated_at``: when the customer's status last changed; before that, when the alert was made."""

    id: str
    name: str
    type: AlertTypeName
    status: Literal["enabled", "archived", "disabled"]
    threshold: OutNumber
    updated_at: OutInstant
    credit_type: CreditType | None = None
    billable_metric_id: str | None = Field(default=None, description="Not in the API that we speak.")
    group_values: list[GroupValueAnswer] | None = None
    custom_field_filters: list[CustomFieldFilterAnswer] | None = None
    alert_specifiers: list[AlertSpecifierAnswer] | None = None
    access_type: Literal["SPEND", "QUANTITY"] | None = None
    invoice_types_filter: list[str] | None = None
    seat_filter: SeatFilterAnswer | None = None
    uniqueness_key: str | None = None


class CustomerAlert(Answer):
    """``customer_status`` is null once the alert is archived."""

    customer_status: Literal["ok", "in_alarm", "evaluating"] | None
    triggered_by: str | None
    alert: AlertAnswer


def alert_document(body: AlertCreate, alert_id: str, created_version: int, now: str) -> Document:
    """``created_version``: the catalog revision or customer version that the write of this document makes."""
    in_units = body.alert_type == "usage_threshold_reached" or body.access_type == "QUANTITY"
    money = not in_units and "_days_" not in body.alert_type
    return {
        "id": alert_id,
        "type": body.alert_type,
        "name": body.name,
        "threshold": body.threshold,
        "created_version": created_version,
        "version": 1,
        "customer_id": body.customer_id,
        "credit_type_id": (body.credit_type_id or USD_CENTS) if money else None,
        "access_type": body.access_type,
        "billable_metric_id": body.billable_metric_id,
        "group_values": [group.model_dump(exclude_none=True) for group in body.group_values],
        "custom_field_filters": [each.model_dump() for each in body.custom_field_filters],
        "alert_specifiers": [each.model_dump(exclude_none=True) for each in body.alert_specifiers],
        "invoice_types_filter": body.invoice_types_filter,
        "seat_filter": None if body.seat_filter is None else body.seat_filter.model_dump(exclude_none=True),
        "evaluate_on_create": body.evaluate_on_create,
        "uniqueness_key": body.uniqueness_key,
        "created_at": now,
        "archived_at": None,
    }


def alert_answer(document: Document, credit_type: CreditType | None, changed_at: str | None) -> AlertAnswer:
    fields: dict[str, Any] = {
        "id": document["id"],
        "name": document["name"],
        "type": document["type"],
        "status": "enabled" if document["archived_at"] is None else "archived",
        "threshold": document["threshold"],
        "updated_at": changed_at or document["archived_at"] or document["created_at"],
    }
    optional = {
        "credit_type": credit_type,
        "billable_metric_id": document["billable_metric_id"],
        "group_values": document["group_values"],
        "custom_field_filters": document.get("custom_field_filters"),
        "alert_specifiers": document.get("alert_specifiers"),
        "access_type": document.get("access_type"),
        "invoice_types_filter": document.get("invoice_types_filter"),
        "seat_filter": document.get("seat_filter"),
        "uniqueness_key": document["uniqueness_key"],
    }
    return AlertAnswer.model_validate({**fields, **{name: value for name, value in optional.items() if value}})
