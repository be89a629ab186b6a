"""The order of a rate card's products, in which its rates are listed. Pure.

A card's document holds ``product_order`` once an order was given; products that it does not name follow, by id.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.common import Body, Id, distinct
from schemas.documents import Document
from schemas.errors import BadRequest

_MOVES_MAX = 1_000


class SetProductOrder(Body):
    rate_card_id: Id
    product_order: Annotated[list[Id], Field(min_length=1, max_length=10_000), AfterValidator(distinct)]


class ProductMove(Body):
    """``position``: where the product is to stand, counted from 0, once it was taken out."""

    product_id: Id
    position: Annotated[int, Field(ge=0)]


class MoveProducts(Body):
    """One move after the other."""

    rate_card_id: Id
    product_moves: Annotated[list[ProductMove], Field(min_length=1, max_length=_MOVES_MAX)]


def product_order(card: Document) -> list[str]:
    """All products that the card has rates for."""
    priced = {rate["product_id"] for rate in card["rates"]}
    given = [product_id for product_id in card.get("product_order") or () if product_id in priced]
    return [*given, *sorted(priced - set(given))]


def _need(place: str, product_id: str, order: list[str]) -> None:
    if product_id not in order:
        raise BadRequest(f"{place}: the rate card has no rate for the product {product_id}")


def with_order(card: Document, body: SetProductOrder) -> Document:
    """Products that the body leaves out follow in the order that they had. Raises BadRequest for one without a rate."""
    before = product_order(card)
    for index, product_id in enumerate(body.product_order):
        _need(f"product_order[{index}]", product_id, before)
    rest = [product_id for product_id in before if product_id not in set(body.product_order)]
    return {**card, "product_order": [*body.product_order, *rest]}


def with_moves(card: Document, body: MoveProducts) -> Document:
    """Raises BadRequest for a product without a rate, and for a position beyond the last."""
    order = product_order(card)
    for index, move in enumerate(body.product_moves):
        _need(f"product_moves[{index}].product_id", move.product_id, order)
        if move.position >= len(order):
            raise BadRequest(f"product_moves[{index}].position: must be below {len(order)}, the number of products")
        order.remove(move.product_id)
        order.insert(move.position, move.product_id)
    return {**card, "product_order": order}
