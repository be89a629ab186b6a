"""Overrides and usage filters of a contract: bodies, answers, and their documents (parts of the contract's).

The contract's document holds ``overrides`` and ``usage_filters``, both in the order in which they were added, and in
``initial_overrides`` those that it was made with. All three are absent from contracts without any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from engine.catalog import USD_CENTS
from schemas.commits import GroupValues
from schemas.common import (
    Answer,
    Body,
    HourInstant,
    Id,
    Key,
    NotNegative,
    OutInstant,
    OutNumber,
    Positive,
    PropertyValue,
    Unsupported,
    Upper,
    distinct,
    rfc3339,
)
from schemas.documents import Document, instant_us
from schemas.pricing_units import CreditType, credit_type
from schemas.products import Tags
from schemas.rate_cards import BillingFrequency, RateTier, TierAnswer

OVERRIDES_MAX = 500
"""Of one contract."""
USAGE_FILTERS_MAX = 100
SPECIFIERS_MAX = 100

NewId = Callable[[], str]


def _supported_rate_type(value: object) -> object:
    folded = value.upper() if isinstance(value, str) else value
    if folded in {"PERCENTAGE", "SUBSCRIPTION", "TIERED_PERCENTAGE", "CUSTOM"}:
        raise PydanticCustomError("unsupported", "the rate type {value} is not supported yet", {"value": folded})
    return folded


Multiplier = NotNegative
Target = Annotated[Literal["LIST_RATE", "COMMIT_RATE"], Upper]
Ids = Annotated[list[Key], Field(min_length=1, max_length=1000)]


class OverrideTier(Body):
    """``multiplier`` for ``size`` units; the last tier may be open. Beyond a last tier with a size, the listed price holds."""

    size: Positive | None = None
    multiplier: Multiplier


class OverwriteRate(Body):
    rate_type: Annotated[Literal["FLAT", "TIERED"], BeforeValidator(_supported_rate_type)]
    price: NotNegative | None = None
    tiers: Annotated[list[RateTier], Field(max_length=100)] = Field(default_factory=list)
    credit_type_id: Id = USD_CENTS
    custom_rate: Unsupported = None
    is_prorated: Unsupported = None
    quantity: Unsupported = None

    @model_validator(mode="after")
    def _priced(self) -> OverwriteRate:
        if self.rate_type == "FLAT":
            if self.price is None or self.tiers:
                raise ValueError("a FLAT rate has a price and no tiers")
        elif self.price is not None or not self.tiers:
            raise ValueError("a TIERED rate has tiers and no price")
        elif self.tiers[-1].size is not None or any(tier.size is None for tier in self.tiers[:-1]):
            raise ValueError("every tier but the last must have a size, and the last must not")
        return self

    def document(self) -> Document:
        return {**self.model_dump(include={"rate_type", "price", "tiers", "credit_type_id"}, exclude_none=True)}


class OverrideSpecifier(Body):
    """Which rates: all parts that are given must fit."""

    product_id: Id | None = None
    product_tags: Tags | None = None
    pricing_group_values: GroupValues | None = None
    presentation_group_values: GroupValues | None = None
    billing_frequency: BillingFrequency | None = Field(default=None, description="Of subscription rates.")
    commit_ids: Ids | None = None
    recurring_commit_ids: Ids | None = None
    any_commit_or_credit_ids: Ids | None = None

    @model_validator(mode="after")
    def _says_something(self) -> OverrideSpecifier:
        if not (self.product_id or self.product_tags or self.pricing_group_values or self.presentation_group_values):
            raise ValueError("must name a product, product tags, pricing or presentation group values")
        if self.any_commit_or_credit_ids and (self.commit_ids or self.recurring_commit_ids):
            raise ValueError("any_commit_or_credit_ids excludes commit_ids and recurring_commit_ids")
        return self

    @property
    def names_commits(self) -> bool:
        return bool(self.commit_ids or self.recurring_commit_ids or self.any_commit_or_credit_ids)


class OverrideBody(Body):
    """Without product_id, applicable_product_tags and override_specifiers it is for every rate of the contract's rate card."""

    starting_at: HourInstant
    ending_before: HourInstant | None = None
    type: Annotated[Literal["OVERWRITE", "MULTIPLIER", "TIERED"], Upper] | None = None
    entitled: bool | None = None
    overwrite_rate: OverwriteRate | None = None
    multiplier: Multiplier | None = None
    tiers: Annotated[list[OverrideTier], Field(max_length=100)] = Field(default_factory=list)
    priority: Positive | None = None
    product_id: Id | None = None
    applicable_product_tags: Tags | None = Field(default=None, description="Products that have any of them.")
    override_specifiers: Annotated[list[OverrideSpecifier], Field(max_length=SPECIFIERS_MAX)] = Field(default_factory=list)
    is_commit_specific: bool = Field(default=False, description="Only for what commits and credits draw.")
    target: Target = "LIST_RATE"

    @model_validator(mode="after")
    def _consistent(self) -> OverrideBody:
        if self.ending_before is not None and self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        if sum(map(bool, (self.product_id, self.applicable_product_tags, self.override_specifiers))) > 1:
            raise ValueError("product_id, applicable_product_tags and override_specifiers exclude each other")
        if self.type is None and self.entitled is None:
            raise ValueError("type is required unless entitled is given")
        for kind, name in (("OVERWRITE", "overwrite_rate"), ("MULTIPLIER", "multiplier"), ("TIERED", "tiers")):
            given = getattr(self, name) not in (None, [])
            if given != (self.type == kind):
                raise ValueError(f"{name} is required when type is {kind}, and only then")
        if any(tier.size is None for tier in self.tiers[:-1]):
            raise ValueError("every tier but the last must have a size")
        if self.is_commit_specific:
            if self.type is None or self.entitled is not None:
                raise ValueError("a commit-specific override changes a price: it has a type, and no entitled")
        elif self.target != "LIST_RATE" or any(each.names_commits for each in self.override_specifiers):
            raise ValueError("target COMMIT_RATE and the ids of commits and credits need is_commit_specific")
        return self

    def document(self, override_id: str, now: str) -> Document:
        specifiers = [each.model_dump(exclude_none=True) for each in self.override_specifiers]
        return {
            "id": override_id,
            "created_at": now,
            "starting_at": rfc3339(self.starting_at),
            "ending_before": self.ending_before and rfc3339(self.ending_before),
            "type": self.type,
            "entitled": self.entitled,
            "overwrite_rate": self.overwrite_rate and self.overwrite_rate.document(),
            "multiplier": self.multiplier,
            "tiers": [tier.model_dump(exclude_none=True) for tier in self.tiers],
            "priority": self.priority,
            "product_id": self.product_id,
            "applicable_product_tags": self.applicable_product_tags,
            "override_specifiers": specifiers,
            "is_commit_specific": self.is_commit_specific,
            "target": self.target,
        }


OverrideBodies = Annotated[list[OverrideBody], Field(max_length=OVERRIDES_MAX)]


class _FilterValues(Body):
    group_key: Key
    group_values: Annotated[list[PropertyValue], Field(min_length=1, max_length=1000), AfterValidator(distinct)]


class UsageFilterBody(_FilterValues):
    """``starting_at`` absent: from the contract's start on."""

    starting_at: HourInstant | None = None


class SetUsageFilter(_FilterValues):
    """Holds from ``starting_at`` until the contract's next filter begins. One with the same start takes the other's place."""

    customer_id: Id
    contract_id: Id
    starting_at: HourInstant


class OverrideTierAnswer(Answer):
    multiplier: OutNumber
    size: OutNumber | None = None


class OverwriteRateAnswer(Answer):
    rate_type: str
    price: OutNumber | None = None
    tiers: list[TierAnswer] | None = None
    credit_type: CreditType


class SpecifierAnswer(Answer):
    product_id: str | None = None
    billing_frequency: str | None = None
    product_tags: list[str] | None = None
    pricing_group_values: dict[str, str] | None = None
    presentation_group_values: dict[str, str] | None = None
    commit_ids: list[str] | None = None
    recurring_commit_ids: list[str] | None = None
    any_commit_or_credit_ids: list[str] | None = None


class ProductName(Answer):
    id: str
    name: str


class OverrideAnswer(Answer):
    id: str
    created_at: OutInstant
    starting_at: OutInstant
    ending_before: OutInstant | None = None
    type: str | None = None
    entitled: bool | None = None
    overwrite_rate: OverwriteRateAnswer | None = None
    multiplier: OutNumber | None = None
    override_tiers: list[OverrideTierAnswer] | None = None
    priority: OutNumber | None = None
    product: ProductName | None = None
    applicable_product_tags: list[str] | None = None
    override_specifiers: list[SpecifierAnswer] | None = None
    is_commit_specific: bool = False
    target: str = "LIST_RATE"


class FlatOverrideAnswer(OverrideAnswer):
    """v1 shows the parts of ``overwrite_rate`` beside it, too."""

    rate_type: str | None = None
    price: OutNumber | None = None
    tiers: list[TierAnswer] | None = None
    credit_type: CreditType | None = None


class UsageFilterAnswer(Answer):
    group_key: str
    group_values: list[str]
    starting_at: OutInstant
    ending_before: OutInstant | None = None


class UsageFilterHistory(Answer):
    """v1: the first filter, the last one that was set, and all but the first."""

    initial: UsageFilterAnswer
    current: UsageFilterAnswer
    updates: list[UsageFilterAnswer]


@dataclass(frozen=True, slots=True)
class Named:
    """What answers call things: products and pricing units by id."""

    products: Mapping[str, Document]
    units: dict[str, Document]


def override_fields(override: Document, named: Named) -> dict[str, Any]:
    """What an answer of either version shows of an override; parts that it does not have are left out."""
    fields = {name: value for name, value in override.items() if value not in (None, [])}
    tiers = fields.pop("tiers", None)
    if tiers is not None:
        fields["override_tiers"] = tiers
    product_id = fields.pop("product_id", None)
    if product_id is not None:
        fields["product"] = {"id": product_id, "name": named.products[product_id]["current"]["name"]}
    rate = fields.get("overwrite_rate")
    if rate is not None:
        shown = {name: value for name, value in rate.items() if value not in (None, [])}
        fields["overwrite_rate"] = {**shown, "credit_type": credit_type(named.units, rate["credit_type_id"])}
    return {"target": "LIST_RATE", "is_commit_specific": False, **fields}


def override_answer(override: Document, named: Named) -> OverrideAnswer:
    return OverrideAnswer.model_validate(override_fields(override, named))


def flat_override_answer(override: Document, named: Named) -> FlatOverrideAnswer:
    fields = override_fields(override, named)
    return FlatOverrideAnswer.model_validate({**fields, **fields.get("overwrite_rate", {})})


def usage_filter_document(body: _FilterValues, starting_at: str, now: str) -> Document:
    return {"group_key": body.group_key, "group_values": body.group_values, "starting_at": starting_at, "created_at": now}


def usage_filters_answer(contract: Document) -> list[UsageFilterAnswer]:
    """When which filter holds, oldest first; of several with one start the last that was set."""
    by_start = {instant_us(each["starting_at"]): each for each in contract.get("usage_filters") or ()}
    ordered = [by_start[start] for start in sorted(by_start)]
    ends = [*(each["starting_at"] for each in ordered[1:]), contract["ending_before"]]
    return [
        UsageFilterAnswer.model_validate({**each, **({} if end is None else {"ending_before": end})})
        for each, end in zip(ordered, ends, strict=False)
    ]


def usage_filter_history(filters: Sequence[Document]) -> UsageFilterHistory | None:
    """``filters`` as they were set; None without any."""
    if not filters:
        return None
    shown = [UsageFilterAnswer.model_validate(each) for each in filters]
    return UsageFilterHistory(initial=shown[0], current=shown[-1], updates=shown[1:])
