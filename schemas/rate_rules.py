"""Rules on rate cards that need more than the request's body to check. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from engine.catalog import USD_CENTS
from schemas.alias_times import check_own_aliases, clash
from schemas.documents import Document
from schemas.errors import BadRequest, Conflict
from schemas.rate_cards import Rate


def check_rate(place: str, rate: Rate, product: Document, card: Document, unit: Document | None) -> None:
    """``place``: prefix for the names of fields; ``unit``: the pricing unit of the rate's credit type, if there is one.

    The rate's pricing group values must name exactly the product's pricing group key: a row with other keys prices nothing.
    """
    _check_kind(place, rate, product)
    expected = product["current"].get("pricing_group_key") or []
    if set(rate.pricing_group_values) != set(expected):
        wanted = ", ".join(expected) if expected else "nothing"
        raise BadRequest(f"{place}pricing_group_values: must name the product's pricing_group_key ({wanted})")
    if rate.credit_type_id == USD_CENTS:
        return
    if unit is None or unit["archived_at"] is not None:
        raise BadRequest(f"{place}credit_type_id: there is no credit type {rate.credit_type_id}")
    if all(each["custom_credit_type_id"] != rate.credit_type_id for each in card["credit_type_conversions"]):
        raise BadRequest(f"{place}credit_type_id: the rate card has no credit_type_conversions entry for {rate.credit_type_id}")


def _check_kind(place: str, rate: Rate, product: Document) -> None:
    kind = product["type"]
    if kind not in ("USAGE", "SUBSCRIPTION", "COMPOSITE"):
        raise BadRequest(f"{place}product_id: a {kind} product has no rates, only USAGE, SUBSCRIPTION and COMPOSITE ones have")
    if (kind == "COMPOSITE") != (rate.rate_type in ("PERCENTAGE", "TIERED_PERCENTAGE")):
        raise BadRequest(
            f"{place}rate_type: a COMPOSITE product, and only one, has PERCENTAGE or TIERED_PERCENTAGE rates; "
            f"the product is a {kind} product, the rate {rate.rate_type}"
        )
    if kind == "COMPOSITE" and rate.commit_rate is not None:
        raise BadRequest(f"{place}commit_rate: does not apply to a COMPOSITE product")
    if kind == "SUBSCRIPTION" and rate.rate_type not in ("FLAT", "SUBSCRIPTION"):
        raise BadRequest(f"{place}rate_type: a SUBSCRIPTION product has FLAT (or SUBSCRIPTION) rates, not {rate.rate_type}")
    if kind != "SUBSCRIPTION" and rate.rate_type == "SUBSCRIPTION":
        raise BadRequest(f"{place}rate_type: SUBSCRIPTION is for SUBSCRIPTION products; it is a {kind} product")
    if (kind == "SUBSCRIPTION") != (rate.billing_frequency is not None):
        raise BadRequest(f"{place}billing_frequency: is required for a SUBSCRIPTION product, and only for one")


def check_aliases(card: Document, others: Iterable[Document]) -> None:
    """No alias may stand for two rate cards (or twice for one) at the same time. Raises BadRequest or Conflict."""
    check_own_aliases(card["aliases"])
    for other in others:
        for alias in other["aliases"]:
            if any(clash(alias, each) for each in card["aliases"]):
                raise Conflict(f"The alias {alias['name']!r} belongs to another rate card at that time.", other["id"])
