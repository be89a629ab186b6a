"""A contract's rate schedule as a request and an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from engine.catalog import CommitRate, Rate, RateType
from engine.periods import HOUR_US
from engine.rating.schedule import ScheduledRate
from schemas.common import Answer, Body, Id, Instant, OutInstant, Text
from schemas.documents import Document, instant_text
from schemas.rate_cards import CommitRateAnswer, RateAnswer, ScheduleSelector, rate_answer


class ContractRateSelector(ScheduleSelector):
    product_tags: list[Text] | None = Field(default=None, description="The product has any of them.")


class GetContractRateSchedule(Body):
    """``at`` absent: now."""

    customer_id: Id
    contract_id: Id
    at: Instant | None = None
    selectors: Annotated[list[ContractRateSelector], Field(max_length=100)] = Field(default_factory=list)


class ContractRateRow(Answer):
    """``override_rate``: present where an override changes the price. ``entitled``: overrides considered."""

    product_id: str
    product_name: str
    product_tags: list[str]
    product_custom_fields: dict[str, str]
    rate_card_id: str
    entitled: bool
    starting_at: OutInstant
    ending_before: OutInstant | None
    pricing_group_values: dict[str, str] | None = None
    list_rate: RateAnswer
    commit_rate: CommitRateAnswer | None = None
    override_rate: RateAnswer | None = None


def is_selected(rate: ScheduledRate, selectors: Sequence[ContractRateSelector], hour: int) -> bool:
    """Whether any of the selectors fits in an hour (none = everything)."""
    return not selectors or any(_fits(rate, each, hour) for each in selectors)


def _fits(rate: ScheduledRate, selector: ContractRateSelector, hour: int) -> bool:
    values = _group_values(rate)
    return (
        selector.product_id in (None, rate.product.id)
        and selector.pricing_group_values in (None, values)
        and (selector.partial_pricing_group_values is None or selector.partial_pricing_group_values.items() <= values.items())
        and (selector.product_tags is None or not rate.product.at(hour).tags.isdisjoint(selector.product_tags))
    )


def _group_values(rate: ScheduledRate) -> dict[str, str]:
    return dict(zip(rate.product.pricing_group_key, rate.pricing_values, strict=True))


def contract_rate_row(rate: ScheduledRate, card_id: str, product: Document, units: dict[str, Document]) -> ContractRateRow:
    stretch, values = rate.stretch, _group_values(rate)
    fields = {
        "product_id": rate.product.id,
        "product_name": product["current"]["name"],
        "product_tags": product["current"].get("tags") or [],
        "product_custom_fields": product["custom_fields"],
        "rate_card_id": card_id,
        "entitled": stretch.entitled,
        "starting_at": instant_text(stretch.starting_hour * HOUR_US),
        "ending_before": None if stretch.ending_hour is None else instant_text(stretch.ending_hour * HOUR_US),
        "list_rate": _shown(stretch.listed, values, units),
    }
    if values:
        fields["pricing_group_values"] = values
    own = stretch.listed.commit_rate
    if own is not None:
        fields["commit_rate"] = {"rate_type": str(own.rate_type), **_price(own)}
    if stretch.charged is not stretch.listed:
        fields["override_rate"] = _shown(stretch.charged, values, units)
    return ContractRateRow.model_validate(fields)


def _shown(rate: Rate, values: dict[str, str], units: dict[str, Document]) -> RateAnswer:
    fields = {"rate_type": str(rate.rate_type), "pricing_group_values": values, "credit_type_id": rate.credit_type_id}
    return rate_answer({**fields, **_price(rate)}, units)


def _price(rate: Rate | CommitRate) -> Document:
    if rate.rate_type is RateType.FLAT:
        return {"price": rate.price}
    return {"tiers": [{"price": each.price} | ({} if each.size is None else {"size": each.size}) for each in rate.tiers]}
