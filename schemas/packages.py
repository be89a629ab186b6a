"""Packages: terms of contracts that are written once, with dates relative to a contract's start. Pure.

A package keeps its terms as they were sent. A contract that is made with it has them as if its own request had held them, dates
and all (schemas.relative): so a package can hold whatever a contract can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from engine.catalog import USD_CENTS
from schemas.common import (
    Answer,
    Body,
    Id,
    Instant,
    Key,
    Name,
    NotNegative,
    OutInstant,
    OutNumber,
    PageQuery,
    UniquenessKey,
    Unsupported,
    Upper,
    rfc3339,
)
from schemas.contracts import ContractCreate
from schemas.documents import Document, instant_us
from schemas.errors import ApiError, BadRequest, refusal
from schemas.numbers import exact_json, parse_json
from schemas.pricing_units import credit_type
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
_FOREVER = 1 << 62
_RELATIVE_NAMES = {"starting_at": "starting_at_offset", "ending_before": "duration", "timestamp": "date_offset"}

Block = Annotated[
    list[dict[str, Any]],
    Field(
        max_length=500,
        description="As in a contract's request, with starting_at_offset, duration and date_offset in place of starting_at, "
        "ending_before and timestamp.",
    ),
]


class PackageStatementSchedule(Body):
    frequency: Annotated[Literal["MONTHLY", "QUARTERLY", "ANNUAL", "WEEKLY"], Upper]
    day: Annotated[Literal["FIRST_OF_MONTH", "CONTRACT_START"], Upper] = "FIRST_OF_MONTH"
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
    billing_provider: Unsupported = None
    delivery_method: Unsupported = None
    prepaid_balance_threshold_configuration: Unsupported = None
    spend_threshold_configuration: Unsupported = None
    spend_trackers: Unsupported = None

    @model_validator(mode="after")
    def _one_card(self) -> PackageCreate:
        if self.rate_card_id is not None and self.rate_card_alias is not None:
            raise ValueError("rate_card_id and rate_card_alias exclude each other")
        return self


class PackageGet(Body):
    package_id: Id


class PackageArchive(Body):
    package_id: Id


class PackageList(Body):
    archive_filter: Annotated[Literal["ARCHIVED", "NOT_ARCHIVED", "ALL"], Upper] = "NOT_ARCHIVED"


class PackageListQuery(PageQuery):
    limit: int = Field(default=10, ge=1, le=100)


class ContractsOnPackage(Body):
    package_id: Id
    covering_date: Instant | None = None
    starting_at: Instant | None = None
    include_archived: bool = False

    @model_validator(mode="after")
    def _one_date(self) -> ContractsOnPackage:
        if self.covering_date is not None and self.starting_at is not None:
            raise ValueError("covering_date and starting_at exclude each other")
        return self


class ContractOnPackage(Answer):
    contract_id: str
    customer_id: str
    starting_at: OutInstant
    ending_before: OutInstant | None = None
    archived_at: OutInstant | None = None


class AliasAnswer(Answer):
    name: str
    starting_at: OutInstant | None = None
    ending_before: OutInstant | None = None


class Package(Answer):
    """The terms are shown as they were sent, with ids, and with names of products and credit types."""

    id: str
    name: str
    created_at: OutInstant
    created_by: str
    archived_at: OutInstant | None
    aliases: list[AliasAnswer]
    uniqueness_key: str | None
    contract_name: str | None
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


def _terms(package: Document) -> dict[str, Any]:
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
    terms = _terms(package)
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


def _bounds(alias: Document) -> tuple[int, int]:
    start, end = alias.get("starting_at"), alias.get("ending_before")
    return 0 if start is None else instant_us(start), _FOREVER if end is None else instant_us(end)


def check_own_aliases(aliases: list[Document]) -> None:
    """Raises BadRequest where a package has one name twice at one time."""
    for index, alias in enumerate(aliases):
        start, end = _bounds(alias)
        for other in aliases[:index]:
            other_start, other_end = _bounds(other)
            if other["name"] == alias["name"] and start < other_end and other_start < end:
                raise BadRequest(f"aliases: {alias['name']!r} is given twice for the same time")


def without_aliases(package: Document, taken: Iterable[Document]) -> Document:
    """The package with its aliases cut out of the times for which another package has taken them: the one to which an alias was
    assigned last has it."""
    kept: list[Document] = list(package["aliases"])
    for other in taken:
        kept = [part for alias in kept for part in _cut(alias, other)]
    return package if kept == package["aliases"] else {**package, "aliases": kept}


def _cut(alias: Document, other: Document) -> list[Document]:
    """What ``other`` leaves of ``alias``."""
    (mine_start, mine_end), (start, end) = _bounds(alias), _bounds(other)
    if alias["name"] != other["name"] or end <= mine_start or mine_end <= start:
        return [alias]
    before = [{**alias, "ending_before": other["starting_at"]}] if mine_start < start else []
    after = [{**alias, "starting_at": other["ending_before"]}] if end < mine_end else []
    return [*before, *after]


def package_of_alias(name: str, at: Instant, packages: Iterable[Document]) -> Document | None:
    """The package that the alias stands for at a moment; archived ones have none."""
    at_us = instant_us(rfc3339(at))
    for package in packages:
        for alias in package["aliases"]:
            start, end = _bounds(alias)
            if package["archived_at"] is None and alias["name"] == name and start <= at_us < end:
                return package
    return None


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
    terms = _terms(package)
    ids = {each["temporary_id"]: each["id"] for block in BLOCKS for each in terms[block] if "temporary_id" in each}
    blocks = {block: _with_template_ids(_shown(terms[block], products, units), ids) for block in BLOCKS}
    for schedule in (each["invoice_schedule"] for each in blocks["commits"] if "invoice_schedule" in each):
        schedule.setdefault("do_not_invoice", False)
    for override in blocks["overrides"]:
        override.setdefault("override_specifiers", [])
        if "tiers" in override:
            override["override_tiers"] = override.pop("tiers")
    optional = ("contract_name", "duration", "rate_card_id", "net_payment_terms_days")
    enums = ("multiplier_override_prioritization", "scheduled_charges_on_usage_invoices")
    fields = {name: terms.get(name) for name in (*optional, *enums)}
    return Package.model_validate({**package, **fields, **blocks, "usage_statement_schedule": terms["usage_statement_schedule"]})


def on_package(contract: Document, body: ContractsOnPackage) -> bool:
    """Whether a contract was made with the package, and the filters let it through."""
    if contract.get("package_id") != body.package_id:
        return False
    if contract["archived_at"] is not None and not body.include_archived:
        return False
    start, end = instant_us(contract["starting_at"]), contract["ending_before"]
    if body.covering_date is not None:
        moment = instant_us(rfc3339(body.covering_date))
        return start <= moment and (end is None or moment < instant_us(end))
    return body.starting_at is None or start >= instant_us(rfc3339(body.starting_at))
