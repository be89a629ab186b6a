"""Packages as answers show them: the terms as they were sent, with ids, and with names of products and credit types. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.catalog import USD_CENTS
from schemas.common import Answer, OutInstant, OutNumber
from schemas.documents import Document
from schemas.packages import BLOCKS, package_terms
from schemas.pricing_units import credit_type
from schemas.rate_cards import AliasAnswer
from schemas.relative import OPAQUE


class ContractOnPackage(Answer):
    contract_id: str
    customer_id: str
    starting_at: OutInstant
    ending_before: OutInstant | None = None
    archived_at: OutInstant | None = None


class Package(Answer):
    id: str
    name: str
    created_at: OutInstant
    created_by: str
    archived_at: OutInstant | None
    aliases: list[AliasAnswer]
    uniqueness_key: str | None
    contract_name: str | None
    billing_provider: str | None
    delivery_method: str | None
    duration: dict[str, Any] | None
    rate_card_id: str | None
    usage_statement_schedule: dict[str, Any]
    net_payment_terms_days: OutNumber | None
    multiplier_override_prioritization: str | None
    scheduled_charges_on_usage_invoices: str | None
    commits: list[dict[str, Any]]
    credits: list[dict[str, Any]]
    overrides: list[dict[str, Any]]
    recurring_commits: list[dict[str, Any]]
    recurring_credits: list[dict[str, Any]]
    scheduled_charges: list[dict[str, Any]]
    subscriptions: list[dict[str, Any]]


_TEMPLATE_IDS = {
    "subscription_id": "subscription_template_id",
    "commit_ids": "commit_template_ids",
    "recurring_commit_ids": "recurring_commit_template_ids",
    "any_commit_or_credit_ids": "any_commit_or_credit_template_ids",
}


def _with_template_ids(value: Any, ids: Mapping[str, str]) -> Any:
    """References by temporary ids, as the ids that the package's own terms have. ``ids``: by temporary id."""
    if isinstance(value, list):
        return [_with_template_ids(each, ids) for each in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for name, each in value.items():
        if name in _TEMPLATE_IDS:
            found = ids.get(each, each) if isinstance(each, str) else [ids.get(one, one) for one in each]
            made[_TEMPLATE_IDS[name]] = found
        else:
            made[name] = each if name in OPAQUE else _with_template_ids(each, ids)
    return made


def _shown(value: Any, products: Mapping[str, Document], units: dict[str, Document]) -> Any:
    """Terms as answers show them: products and credit types by name, too."""
    if isinstance(value, list):
        return [_shown(each, products, units) for each in value]
    if not isinstance(value, dict):
        return value
    made = {name: each if name in OPAQUE else _shown(each, products, units) for name, each in value.items()}
    if "product_id" in made and made["product_id"] in products:
        product = products[made["product_id"]]
        made["product"] = {"id": product["id"], "name": product["current"]["name"]}
    if "schedule_items" in made:
        made["credit_type"] = credit_type(units, made.get("credit_type_id", USD_CENTS)).model_dump()
    return made


def package_answer(package: Document, products: Mapping[str, Document], units: dict[str, Document]) -> Package:
    terms = package_terms(package)
    ids = {each["temporary_id"]: each["id"] for block in BLOCKS for each in terms[block] if "temporary_id" in each}
    blocks = {block: _with_template_ids(_shown(terms[block], products, units), ids) for block in BLOCKS}
    for schedule in (each["invoice_schedule"] for each in blocks["commits"] if "invoice_schedule" in each):
        schedule.setdefault("do_not_invoice", False)
    for override in blocks["overrides"]:
        override.setdefault("override_specifiers", [])
        if "tiers" in override:
            override["override_tiers"] = override.pop("tiers")
    optional = ("contract_name", "billing_provider", "delivery_method", "duration", "rate_card_id", "net_payment_terms_days")
    enums = ("multiplier_override_prioritization", "scheduled_charges_on_usage_invoices")
    fields = {name: terms.get(name) for name in (*optional, *enums)}
    return Package.model_validate({**package, **fields, **blocks, "usage_statement_schedule": terms["usage_statement_schedule"]})
