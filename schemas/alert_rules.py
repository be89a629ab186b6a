"""What an alert may be: which filters belong to which type, thresholds, limits. Pure rules over a body and what exists.

| types | threshold | filters that apply |
|---|---|---|
| spend | an amount, 0 or more | credit_type_id, group_values, custom_field_filters |
| usage | a quantity, 0 or more | billable_metric_id (required) |
| balance | an amount, 0 or more | credit_type_id, custom_field_filters, access_type |
| percentage | 0 to 100 | credit_type_id, custom_field_filters, access_type |
| balance and percentage of credits and commits together | as above | as above, and alert_specifiers |
| seat balance | an amount, 0 or more | credit_type_id, access_type, seat_filter (required) |
| days | days, 0 or more | custom_field_filters |
| invoice total | an amount, 0 or more | credit_type_id, custom_field_filters, invoice_types_filter |
| monthly invoice total | an amount, 0 or more | credit_type_id, custom_field_filters |

A custom field filter looks at the balances that the type measures, or at the contract: see ``_ENTITIES``.

``customer_id``, ``evaluate_on_create`` and ``uniqueness_key`` go with every type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.catalog import USD_CENTS
from schemas.alert_specifiers import check_fields, key_filter
from schemas.alerts import CONSOLIDATED, AlertCreate
from schemas.documents import Document
from schemas.errors import BadRequest, NotSupported

INSTEAD_OF = {
    "low_credit_balance_reached": "low_remaining_contract_credit_balance_reached",
    "low_remaining_credit_percentage_reached": "low_remaining_contract_credit_percentage_reached",
    "low_remaining_days_in_plan_reached": "low_remaining_days_for_commit_segment_reached",
}
"""The types of legacy plans, and what to use with contracts."""

_BALANCE = {"credit_type_id", "custom_field_filters", "access_type"}
_COMBINED = _BALANCE | {"alert_specifiers"}
_FILTERS = {
    "spend_threshold_reached": {"credit_type_id", "group_values", "custom_field_filters"},
    "usage_threshold_reached": {"billable_metric_id"},
    "low_remaining_contract_credit_balance_reached": _BALANCE,
    "low_remaining_contract_credit_percentage_reached": _BALANCE,
    "low_remaining_commit_balance_reached": _BALANCE,
    "low_remaining_commit_percentage_reached": _BALANCE,
    "low_remaining_contract_credit_and_commit_balance_reached": _COMBINED,
    "low_remaining_contract_credit_and_commit_percentage_reached": _COMBINED,
    "low_remaining_days_for_commit_segment_reached": {"custom_field_filters"},
    "low_remaining_days_for_contract_credit_segment_reached": {"custom_field_filters"},
    "low_remaining_seat_balance_reached": {"credit_type_id", "access_type", "seat_filter"},
    "invoice_total_reached": {"credit_type_id", "custom_field_filters", "invoice_types_filter"},
    "monthly_invoice_total_spend_threshold_reached": {"credit_type_id", "custom_field_filters"},
}
"""The filters that apply to each type that is supported."""

_CREDITS = {"Contract", "ContractCredit", "ContractCreditOrCommit"}
_COMMITS = {"Contract", "Commit", "ContractCreditOrCommit"}
_ENTITIES = {
    "spend_threshold_reached": {"Contract"},
    "low_remaining_contract_credit_balance_reached": _CREDITS,
    "low_remaining_contract_credit_percentage_reached": _CREDITS,
    "low_remaining_commit_balance_reached": _COMMITS,
    "low_remaining_commit_percentage_reached": _COMMITS,
    "low_remaining_contract_credit_and_commit_balance_reached": _CREDITS | _COMMITS,
    "low_remaining_contract_credit_and_commit_percentage_reached": _CREDITS | _COMMITS,
    "low_remaining_days_for_commit_segment_reached": _COMMITS,
    "low_remaining_days_for_contract_credit_segment_reached": _CREDITS,
    "invoice_total_reached": {"Contract"},
    "monthly_invoice_total_spend_threshold_reached": {"Contract"},
}
"""The entities that custom field filters of each type may name."""

_IN_DOLLARS = {"invoice_total_reached", "monthly_invoice_total_spend_threshold_reached"}
_ALL_FILTERS = (
    "credit_type_id",
    "billable_metric_id",
    "group_values",
    "access_type",
    "alert_specifiers",
    "credit_grant_type_filters",
    "custom_field_filters",
    "invoice_types_filter",
    "plan_id",
    "seat_filter",
)


@dataclass(frozen=True, slots=True)
class AlertLimits:
    for_all_max: int
    per_customer_max: int
    group_value_keys_max: int
    keyed_alerts_max: int


def check_type(body: AlertCreate) -> None:
    """Type, threshold and filters. Raises BadRequest or NotSupported."""
    kind = body.alert_type
    if kind in INSTEAD_OF:
        raise BadRequest(f"alert_type: {kind} belongs to legacy plans; use {INSTEAD_OF[kind]}")
    if body.threshold < 0:
        raise BadRequest("threshold: must not be negative")
    if "percentage" in kind and body.threshold > 100:
        raise BadRequest("threshold: must be a percentage from 0 to 100")
    if kind not in _FILTERS:
        raise NotSupported(f"alert_type: {kind} is not supported yet")
    for name in _ALL_FILTERS:
        if getattr(body, name) not in (None, []) and name not in _FILTERS[kind]:
            raise BadRequest(f"{name}: does not apply to {kind}")
    for each in body.custom_field_filters:
        if each.entity not in _ENTITIES[kind]:
            raise BadRequest(f"custom_field_filters: the entity {each.entity} does not apply to {kind}")
    check_fields(body)
    if body.access_type == "QUANTITY" and body.credit_type_id is not None:
        raise BadRequest("credit_type_id: must not be given with access_type QUANTITY")
    _check_invoices(body)
    if kind == "usage_threshold_reached" and body.billable_metric_id is None:
        raise BadRequest("billable_metric_id: is required for usage_threshold_reached")
    if kind == "low_remaining_seat_balance_reached" and body.seat_filter is None:
        raise BadRequest("seat_filter: is required for low_remaining_seat_balance_reached")


def _check_invoices(body: AlertCreate) -> None:
    """There are neither invoices in other units nor consolidated ones, so that no alert on these could fire."""
    if body.alert_type in _IN_DOLLARS and body.credit_type_id not in (None, USD_CENTS):
        raise BadRequest("credit_type_id: invoices are in US dollars")
    if body.invoice_types_filter and not set(body.invoice_types_filter) - {CONSOLIDATED}:
        raise NotSupported(f"invoice_types_filter: {CONSOLIDATED} alone: there are no hierarchies, so there is no such invoice")


def _live(alerts: Iterable[Document]) -> list[Document]:
    return [alert for alert in alerts if alert["archived_at"] is None]


def _keys(alerts: Iterable[Document]) -> set[str]:
    return {group["key"] for alert in alerts for group in alert["group_values"]}


def check_limits(body: AlertCreate, for_all: Iterable[Document], own: Iterable[Document], limits: AlertLimits) -> None:
    """``for_all``, ``own``: what exists, archived ones included; ``own`` is empty for an alert for all customers.

    Keys of ``group_values``, and alerts by the values of a custom field, are counted over all alerts that a customer meets; for
    an alert for all customers, over those alone.
    """
    shared, mine = _live(for_all), _live(own)
    if body.customer_id is None and len(shared) >= limits.for_all_max:
        raise BadRequest(f"at most {limits.for_all_max} alerts for all customers may be active")
    if body.customer_id is not None and len(mine) >= limits.per_customer_max:
        raise BadRequest(f"at most {limits.per_customer_max} alerts of one customer may be active")
    wanted = {group.key for group in body.group_values}
    if wanted and len(_keys((*shared, *mine)) | wanted) > limits.group_value_keys_max:
        raise BadRequest(f"group_values: at most {limits.group_value_keys_max} different keys may be used for one customer")
    keyed = any(each.value is None for specifier in body.alert_specifiers for each in specifier.custom_field_filters)
    if keyed and sum(key_filter(alert) is not None for alert in (*shared, *mine)) >= limits.keyed_alerts_max:
        raise BadRequest(
            f"alert_specifiers: at most {limits.keyed_alerts_max} alerts of one customer may be split by a custom field"
        )
