"""Documents of overrides and usage filters -> the engine's (see schemas.overrides for what they hold)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.catalog import (
    MultiplierTier,
    Override,
    OverrideType,
    OverwriteRate,
    RateTarget,
    RateType,
    Specifier,
    Tier,
    UsageFilter,
)
from schemas.balance_documents import specifier_of
from schemas.timestamps import stored_hour

Document = dict[str, Any]


def _optional(text: object) -> Decimal | None:
    return None if text is None else Decimal(str(text))


def _overwrite_rate(document: Document) -> OverwriteRate:
    return OverwriteRate(
        rate_type=RateType(document["rate_type"]),
        price=Decimal(document.get("price") or 0),
        tiers=tuple(Tier(_optional(tier.get("size")), Decimal(tier["price"])) for tier in document.get("tiers") or ()),
        credit_type_id=document["credit_type_id"],
    )


def _specifier(document: Document) -> Specifier:
    any_ids = frozenset(document.get("any_commit_or_credit_ids") or ())
    return replace(
        specifier_of(document),
        balance_ids=any_ids.union(document.get("commit_ids") or ()),
        recurring_ids=any_ids.union(document.get("recurring_commit_ids") or ()),
    )


def _specifiers(document: Document) -> tuple[Specifier, ...]:
    if document.get("product_id") is not None:
        return (Specifier(product_id=document["product_id"]),)
    tags = document.get("applicable_product_tags") or ()
    listed = document.get("override_specifiers") or ()
    return (*(Specifier(product_tags=frozenset({tag})) for tag in tags), *(_specifier(each) for each in listed))


def override_of(document: Document) -> Override:
    rate = document.get("overwrite_rate")
    return Override(
        id=document["id"],
        starting_hour=stored_hour(document["starting_at"]),
        ending_hour=None if document.get("ending_before") is None else stored_hour(document["ending_before"]),
        type=None if document.get("type") is None else OverrideType(document["type"]),
        overwrite_rate=None if rate is None else _overwrite_rate(rate),
        multiplier=Decimal(1) if document.get("multiplier") is None else Decimal(document["multiplier"]),
        tiers=tuple(
            MultiplierTier(_optional(tier.get("size")), Decimal(tier["multiplier"])) for tier in document.get("tiers") or ()
        ),
        priority=_optional(document.get("priority")),
        entitled=document.get("entitled"),
        specifiers=_specifiers(document),
        for_commits=document.get("is_commit_specific", False),
        target=RateTarget(document.get("target", "LIST_RATE")),
    )


def overrides_of(contract: Document) -> tuple[Override, ...]:
    return tuple(override_of(each) for each in contract.get("overrides") or ())


def usage_filters_of(contract: Document) -> tuple[UsageFilter, ...]:
    """By their start; of several with one start the last that was set."""
    return _by_start(
        UsageFilter(each["group_key"], frozenset(each["group_values"]), stored_hour(each["starting_at"]))
        for each in contract.get("usage_filters") or ()
    )


def _by_start(filters: Iterable[UsageFilter]) -> tuple[UsageFilter, ...]:
    by_start = {each.starting_hour: each for each in filters}
    return tuple(by_start[hour] for hour in sorted(by_start))
