"""Rate cards and their rates: bodies, answers, and the stored document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from engine.catalog import USD_CENTS
from schemas.common import (
    Answer,
    Body,
    CustomFields,
    HourInstant,
    Id,
    Instant,
    Key,
    Name,
    NotNegative,
    OutInstant,
    OutNumber,
    PageQuery,
    Positive,
    PropertyValue,
    Text,
    Unsupported,
    Upper,
    rfc3339,
)
from schemas.documents import Document
from schemas.pricing_units import CreditType, credit_type
from schemas.products import CREATED_BY

RATES_MAX = 10_000
"""Of one rate card. Its document is read as a whole by every worker."""

BillingFrequency = Annotated[Literal["MONTHLY", "QUARTERLY", "ANNUAL", "WEEKLY"], Upper]
Description = Annotated[str, StringConstraints(max_length=4096)]


class Alias(Body):
    """A second name of a rate card, for contracts that start in [starting_at, ending_before)."""

    name: Key
    starting_at: HourInstant | None = None
    ending_before: HourInstant | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Alias:
        if self.starting_at and self.ending_before and self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        return self

    def document(self) -> Document:
        bounds = (("starting_at", self.starting_at), ("ending_before", self.ending_before))
        return {"name": self.name, **{name: rfc3339(instant) for name, instant in bounds if instant is not None}}


class CreditTypeConversion(Body):
    custom_credit_type_id: Id
    fiat_per_custom_credit: Positive


Aliases = Annotated[list[Alias], Field(max_length=100)]
Conversions = Annotated[list[CreditTypeConversion], Field(max_length=100)]


class RateCardCreate(Body):
    name: Name
    description: Description | None = None
    aliases: Aliases = Field(default_factory=list)
    fiat_credit_type_id: Id = USD_CENTS
    credit_type_conversions: Conversions = Field(default_factory=list)
    custom_fields: CustomFields = Field(default_factory=dict)


class RateCardUpdate(Body):
    """``aliases`` replaces all of them; conversions are added."""

    rate_card_id: Id
    name: Name | None = None
    description: Description | None = None
    aliases: Aliases | None = None
    add_credit_type_conversions: Conversions = Field(default_factory=list)


class RateCardGet(Body):
    id: Id


class RateCardArchive(Body):
    id: Id


class RateCardListQuery(PageQuery):
    pass


class RateTier(Body):
    """``size`` units at ``price`` each; the last tier has no size."""

    size: Positive | None = None
    price: NotNegative


def _plain_rate_type(value: object) -> object:
    folded = value.upper() if isinstance(value, str) else value
    if folded in {"PERCENTAGE", "SUBSCRIPTION", "TIERED_PERCENTAGE", "CUSTOM"}:
        raise PydanticCustomError("unsupported", "the rate type {value} is not supported yet", {"value": folded})
    return folded


class CommitRate(Body):
    """What usage costs a commit or credit of rate type COMMIT_RATE, in the rate's credit type."""

    rate_type: Annotated[Literal["FLAT", "TIERED"], BeforeValidator(_plain_rate_type)]
    price: NotNegative | None = None
    tiers: Annotated[list[RateTier], Field(max_length=100)] = Field(default_factory=list)
    minimum_config: Unsupported = None

    @model_validator(mode="after")
    def _priced(self) -> CommitRate:
        if self.rate_type == "FLAT" and (self.price is None or self.tiers):
            raise ValueError("a FLAT commit rate has a price and no tiers")
        if self.rate_type == "TIERED" and (self.price is not None or not self.tiers):
            raise ValueError("a TIERED commit rate has tiers and no price")
        if any((tier.size is None) != (tier is self.tiers[-1]) for tier in self.tiers):
            raise ValueError("every tier but the last must have a size, and the last must not")
        return self

    def document(self) -> Document:
        parts = {"rate_type", "price"} if self.rate_type == "FLAT" else {"rate_type", "tiers"}
        return self.model_dump(include=parts, exclude_none=True)


class MinimumConfig(Body):
    minimum: NotNegative


class Rate(Body):
    """One price of one product from ``starting_at`` on. Of several rates that hold at one time, the latest added counts.
    PERCENTAGE and TIERED_PERCENTAGE (of COMPOSITE products): prices are fractions (0.1 = 10 %), tiers count spend."""

    product_id: Id
    starting_at: HourInstant
    ending_before: HourInstant | None = None
    entitled: bool
    rate_type: Annotated[Literal["FLAT", "PERCENTAGE", "SUBSCRIPTION", "TIERED", "TIERED_PERCENTAGE", "CUSTOM"], Upper]
    price: NotNegative | None = None
    tiers: Annotated[list[RateTier], Field(max_length=100)] = Field(default_factory=list)
    credit_type_id: Id = USD_CENTS
    pricing_group_values: Annotated[dict[Key, PropertyValue], Field(max_length=10)] = Field(default_factory=dict)
    billing_frequency: BillingFrequency | None = Field(default=None, description="Of SUBSCRIPTION products, and only of these.")
    commit_rate: CommitRate | None = None
    custom_rate: Unsupported = None
    is_prorated: Unsupported = None
    minimum_config: MinimumConfig | None = Field(default=None, description="Of COMPOSITE products: charged at least.")
    quantity: Unsupported = None

    @model_validator(mode="after")
    def _priced(self) -> Rate:
        if self.rate_type == "CUSTOM":
            raise ValueError("rate_type CUSTOM is not supported: it is defined for single clients of the hosted service")
        percentage = self.rate_type in ("PERCENTAGE", "TIERED_PERCENTAGE")
        if self.minimum_config is not None and not percentage:
            raise ValueError(f"minimum_config does not apply to a {self.rate_type} rate")
        if self.ending_before is not None and self.ending_before <= self.starting_at:
            raise ValueError("ending_before must be after starting_at")
        if self.rate_type in ("FLAT", "SUBSCRIPTION", "PERCENTAGE"):
            if self.price is None:
                raise ValueError(f"price is required for a {self.rate_type} rate")
            if self.tiers:
                raise ValueError(f"tiers do not apply to a {self.rate_type} rate")
            return self
        if self.price is not None:
            raise ValueError(f"price does not apply to a {self.rate_type} rate")
        if not self.tiers:
            raise ValueError(f"tiers are required for a {self.rate_type} rate")
        if self.tiers[-1].size is not None or any(tier.size is None for tier in self.tiers[:-1]):
            raise ValueError("every tier but the last must have a size, and the last must not")
        return self


class AddRate(Rate):
    rate_card_id: Id


class AddRates(Body):
    rate_card_id: Id
    rates: Annotated[list[Rate], Field(min_length=1, max_length=1000)]


class ScheduleSelector(Body):
    """All fields that are given must fit."""

    product_id: Id | None = None
    pricing_group_values: dict[Key, PropertyValue] | None = Field(default=None, description="Exactly these.")
    partial_pricing_group_values: dict[Key, PropertyValue] | None = Field(default=None, description="At least these.")
    billing_frequency: BillingFrequency | None = None


class RateSelector(ScheduleSelector):
    product_tags: list[Text] | None = Field(default=None, description="The product has all of them.")


class GetRates(Body):
    rate_card_id: Id
    at: Instant
    selectors: list[RateSelector] = Field(default_factory=list)


class GetRateSchedule(Body):
    rate_card_id: Id
    starting_at: Instant
    ending_before: Instant | None = None
    selectors: list[ScheduleSelector] = Field(default_factory=list)


class RatesQuery(PageQuery):
    pass


class AliasAnswer(Answer):
    name: str
    starting_at: OutInstant | None = None
    ending_before: OutInstant | None = None


class ConversionAnswer(Answer):
    """``fiat_per_custom_credit`` is a text here, as in the API that we speak."""

    custom_credit_type: CreditType
    fiat_per_custom_credit: str


class RateCard(Answer):
    id: str
    name: str
    description: str | None
    created_at: OutInstant
    created_by: str
    aliases: list[AliasAnswer]
    fiat_credit_type: CreditType
    credit_type_conversions: list[ConversionAnswer]
    custom_fields: dict[str, str]


class TierAnswer(Answer):
    price: OutNumber
    size: OutNumber | None = None


class MinimumAnswer(Answer):
    minimum: OutNumber


class RateAnswer(Answer):
    rate_type: str
    price: OutNumber | None = None
    tiers: list[TierAnswer] | None = None
    credit_type: CreditType
    pricing_group_values: dict[str, str] | None = None
    minimum_config: MinimumAnswer | None = None


class CommitRateAnswer(Answer):
    rate_type: str
    price: OutNumber | None = None
    tiers: list[TierAnswer] | None = None


class AddedRate(RateAnswer):
    commit_rate: CommitRateAnswer | None = None


class RateRow(Answer):
    product_id: str
    product_name: str
    product_tags: list[str]
    product_custom_fields: dict[str, str]
    entitled: bool
    starting_at: OutInstant
    ending_before: OutInstant | None
    pricing_group_values: dict[str, str] | None = None
    billing_frequency: str | None = None
    rate: RateAnswer
    commit_rate: CommitRateAnswer | None = None


def rate_card_document(body: RateCardCreate, card_id: str, now: str) -> Document:
    return {
        "id": card_id,
        "name": body.name,
        "description": body.description,
        "aliases": [alias.document() for alias in body.aliases],
        "fiat_credit_type_id": body.fiat_credit_type_id,
        "credit_type_conversions": [each.model_dump() for each in body.credit_type_conversions],
        "custom_fields": body.custom_fields,
        "rates": [],
        "created_at": now,
        "created_by": CREATED_BY,
        "archived_at": None,
    }


def updated_rate_card(document: Document, body: RateCardUpdate) -> Document:
    added = [each.model_dump() for each in body.add_credit_type_conversions]
    changed = {
        "name": body.name,
        "description": body.description,
        "aliases": None if body.aliases is None else [alias.document() for alias in body.aliases],
        "credit_type_conversions": [*document["credit_type_conversions"], *added] if added else None,
    }
    return {**document, **{name: value for name, value in changed.items() if value is not None}}


def rate_document(rate: Rate) -> Document:
    document: Document = {
        "product_id": rate.product_id,
        "rate_type": rate.rate_type,
        "starting_at": rfc3339(rate.starting_at),
        "ending_before": rate.ending_before and rfc3339(rate.ending_before),
        "credit_type_id": rate.credit_type_id,
        "entitled": rate.entitled,
        "pricing_group_values": rate.pricing_group_values,
    }
    if rate.billing_frequency is not None:
        document["billing_frequency"] = rate.billing_frequency
    if rate.price is not None:
        document["price"] = rate.price
    else:
        document["tiers"] = [tier.model_dump(exclude_none=True) for tier in rate.tiers]
    if rate.commit_rate is not None:
        document["commit_rate"] = rate.commit_rate.document()
    if rate.minimum_config is not None:
        document["minimum_config"] = rate.minimum_config.model_dump()
    return document


def rate_card_answer(document: Document, units: dict[str, Document]) -> RateCard:
    conversions = [
        ConversionAnswer(
            custom_credit_type=credit_type(units, each["custom_credit_type_id"]),
            fiat_per_custom_credit=str(each["fiat_per_custom_credit"]),
        )
        for each in document["credit_type_conversions"]
    ]
    fields: dict[str, Any] = {
        **document,
        "fiat_credit_type": credit_type(units, document["fiat_credit_type_id"]),
        "credit_type_conversions": conversions,
    }
    return RateCard.model_validate(fields)


def rate_answer(rate: Document, units: dict[str, Document]) -> RateAnswer:
    names = ("rate_type", "price", "tiers", "minimum_config")
    fields: dict[str, Any] = {name: rate[name] for name in names if name in rate}
    if rate["pricing_group_values"]:
        fields["pricing_group_values"] = rate["pricing_group_values"]
    return RateAnswer.model_validate({**fields, "credit_type": credit_type(units, rate["credit_type_id"])})
