"""Packages: terms of contracts that are written once, with dates relative to a contract's start. Pure.

A package keeps its terms as they were sent. A contract that is made with it has them as if its own request had held them, dates
and all (schemas.relative): so a package can hold whatever a contract can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.billing_configurations import DeliveryMethod, Provider
from schemas.common import (
    Body,
    Id,
    Key,
    Name,
    NotNegative,
    PageQuery,
    UniquenessKey,
    Unsupported,
    Upper,
)
from schemas.contracts import ContractCreate, ContractFilters
from schemas.documents import Document
from schemas.errors import ApiError, BadRequest, refusal
from schemas.numbers import exact_json, parse_json
from schemas.products import CREATED_BY
from schemas.rate_cards import Aliases
from schemas.relative import OPAQUE, Duration, Offset, absolute, ends

BLOCKS = (
    "commits",
    "credits",
    "overrides",
    "recurring_commits",
    "recurring_credits",
    "scheduled_charges",
    "subscriptions",
)
WITH_PACKAGE = frozenset(
    {"customer_id", "starting_at", "package_id", "package_alias", "uniqueness_key", "transition", "custom_fields"}
)
"""What a contract's request may hold beside its package."""
_RELATIVE_NAMES = {"starting_at": "starting_at_offset", "ending_before": "duration", "timestamp": "date_offset"}

Block = Annotated[
    list[dict[str, Any]],
    Field(
        max_length=500,
        description="As in a contract's request, with starting_at_offset, duration and date_offset in place of starting_at, "
        "ending_before and timestamp.",
    ),
]


def _relative_day(value: object) -> object:
    """The client knows CUSTOM_DATE, but a package has no field for the date."""
    if isinstance(value, str) and value.upper() == "CUSTOM_DATE":
        raise PydanticCustomError("unsupported", "CUSTOM_DATE is not supported for packages")
    return value


class PackageStatementSchedule(Body):
    frequency: Annotated[Literal["MONTHLY", "QUARTERLY", "ANNUAL", "WEEKLY"], Upper]
    day: Annotated[Literal["FIRST_OF_MONTH", "CONTRACT_START"], Upper, BeforeValidator(_relative_day)] = "FIRST_OF_MONTH"
    invoice_generation_starting_at_offset: Unsupported = None


class PackageCreate(Body):
    name: Name
    aliases: Aliases = Field(default_factory=list)
    uniqueness_key: UniquenessKey | None = None
    contract_name: Name | None = None
    duration: Duration | None = Field(default=None, description="Of contracts; absent: they are open-ended.")
    rate_card_id: Id | None = None
    rate_card_alias: Key | None = None
    usage_statement_schedule: PackageStatementSchedule = Field(
        default_factory=lambda: PackageStatementSchedule(frequency="MONTHLY")
    )
    net_payment_terms_days: NotNegative | None = None
    multiplier_override_prioritization: Annotated[Literal["LOWEST_MULTIPLIER", "EXPLICIT"], Upper] | None = None
    scheduled_charges_on_usage_invoices: Annotated[Literal["ALL"], Upper] | None = None
    commits: Block = Field(default_factory=list)
    credits: Block = Field(default_factory=list)
    overrides: Block = Field(default_factory=list)
    recurring_commits: Block = Field(default_factory=list)
    recurring_credits: Block = Field(default_factory=list)
    scheduled_charges: Block = Field(default_factory=list)
    subscriptions: Block = Field(default_factory=list)
    billing_provider: Provider | None = Field(default=None, description="A customer needs one configuration that has both.")
    delivery_method: DeliveryMethod | None = None
    prepaid_balance_threshold_configuration: Unsupported = None
    spend_threshold_configuration: Unsupported = None
    spend_trackers: Unsupported = None

    @model_validator(mode="after")
    def _one_card(self) -> PackageCreate:
        if self.rate_card_id is not None and self.rate_card_alias is not None:
            raise ValueError("rate_card_id and rate_card_alias exclude each other")
        if (self.billing_provider is None) != (self.delivery_method is None):
            raise ValueError("billing_provider and delivery_method are given together")
        return self


class PackageGet(Body):
    package_id: Id


class PackageArchive(Body):
    package_id: Id


class PackageList(Body):
    archive_filter: Annotated[Literal["ARCHIVED", "NOT_ARCHIVED", "ALL"], Upper] = "NOT_ARCHIVED"


class PackageListQuery(PageQuery):
    limit: int = Field(default=10, ge=1, le=100)


class ContractsOnPackage(ContractFilters):
    package_id: Id


def package_document(body: PackageCreate, package_id: str, new_id: Callable[[], str], now: str) -> Document:
    """``terms``: JSON as a text, since its numbers stay numbers in there. Every term has an id, and so has every item of its
    schedules."""
    terms = body.model_dump(exclude_none=True, exclude={"name", "aliases", "uniqueness_key"})
    for block in BLOCKS:
        terms[block] = [{"id": new_id(), **_with_item_ids(each, new_id)} for each in terms[block]]
    return {
        "id": package_id,
        "name": body.name,
        "aliases": [alias.document() for alias in body.aliases],
        "uniqueness_key": body.uniqueness_key,
        "terms": exact_json(terms).decode(),
        "created_at": now,
        "created_by": CREATED_BY,
        "archived_at": None,
    }


def _with_item_ids(term: Mapping[str, Any], new_id: Callable[[], str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in term.items():
        made[name] = value
        if isinstance(value, dict) and isinstance(value.get("schedule_items"), list):
            items = [{"id": new_id(), **each} if isinstance(each, dict) else each for each in value["schedule_items"]]
            made[name] = {**value, "schedule_items": items}
    return made


def package_terms(package: Document) -> dict[str, Any]:
    terms: Any = parse_json(package["terms"].encode())
    return dict(terms)


def _without_ids(value: Any) -> Any:
    """Ids of a package's terms are the package's own; what a contract makes of them has others."""
    if isinstance(value, list):
        return [_without_ids(each) for each in value]
    if isinstance(value, dict):
        return {name: each if name in OPAQUE else _without_ids(each) for name, each in value.items() if name != "id"}
    return value


def contract_request(package: Document, given: Mapping[str, Any], starting_at: datetime) -> ContractCreate:
    """The request of a contract with the package's terms, which starts then. ``given``: the fields that are the contract's own.

    Raises BadRequest or NotSupported, in the names that the package's fields have."""
    terms = package_terms(package)
    fields: dict[str, Any] = {**given, "starting_at": starting_at, "package_id": package["id"]}
    try:
        for block in BLOCKS:
            if terms[block]:
                fields[block] = absolute(block, _without_ids(terms[block]), starting_at)
        if "duration" in terms:
            duration = Duration.model_validate(terms["duration"])
            fields["ending_before"] = ends(starting_at, Offset(unit="DAYS", value=0), duration)
    except ValueError as error:
        raise BadRequest(f"starting_at: the package's terms {error}") from None
    if "billing_provider" in terms:
        billing = {name: terms[name] for name in ("billing_provider", "delivery_method")}
        fields["billing_provider_configuration"] = billing
    if "contract_name" in terms:
        fields["name"] = terms["contract_name"]
    for name in (
        "rate_card_id",
        "rate_card_alias",
        "usage_statement_schedule",
        "net_payment_terms_days",
        "multiplier_override_prioritization",
        "scheduled_charges_on_usage_invoices",
    ):
        if name in terms:
            fields[name] = terms[name]
    try:
        return ContractCreate.model_validate(fields)
    except ValidationError as error:
        raise _in_package_names(refusal(error)) from None


def _in_package_names(error: ApiError) -> ApiError:
    message = error.message
    for name, relative in _RELATIVE_NAMES.items():
        message = message.replace(f".{name}:", f".{relative}:")
    return type(error)(message)
