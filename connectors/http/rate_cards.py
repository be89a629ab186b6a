"""/v1/contract-pricing/rate-cards"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from connectors.http.editing import CatalogEdit, edit_catalog, no_longer, read_catalog, with_id
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from engine.catalog import USD_CENTS
from schemas.common import Data, IdAnswer, NoBody, NoQuery, Page
from schemas.documents import Document
from schemas.errors import BadRequest
from schemas.product_order import MoveProducts, SetProductOrder, with_moves, with_order
from schemas.rate_cards import (
    RATES_MAX,
    AddedRate,
    AddRate,
    AddRates,
    Rate,
    RateCard,
    RateCardArchive,
    RateCardCreate,
    RateCardGet,
    RateCardListQuery,
    RateCardUpdate,
    rate_answer,
    rate_card_answer,
    rate_card_document,
    rate_document,
    updated_rate_card,
)
from schemas.rate_rules import check_aliases, check_rate

_BASE = "/v1/contract-pricing/rate-cards"


def _check_units(edit: CatalogEdit, card: Document) -> None:
    """The card's money is US dollars, and its conversions name pricing units that are not archived."""
    if card["fiat_credit_type_id"] != USD_CENTS:
        raise BadRequest(f"fiat_credit_type_id: only US dollars in cents ({USD_CENTS}) are supported")
    converted = [each["custom_credit_type_id"] for each in card["credit_type_conversions"]]
    if len(set(converted)) != len(converted):
        raise BadRequest("credit_type_conversions: a pricing unit has one conversion, which cannot be changed")
    for each in card["credit_type_conversions"]:
        unit = edit.get("pricing_units", each["custom_credit_type_id"])
        if unit is None or unit["archived_at"] is not None:
            raise BadRequest(f"credit_type_conversions: there is no pricing unit {each['custom_credit_type_id']}")


def _check_card(edit: CatalogEdit, card: Document) -> None:
    _check_units(edit, card)
    others = [each for each in edit.all("rate_cards").values() if each["id"] != card["id"] and each["archived_at"] is None]
    check_aliases(card, others)


async def create(call: Call[RateCardCreate, NoQuery]) -> Data[IdAnswer]:
    document = rate_card_document(call.body, call.services.new_id(), call.now)

    def change(edit: CatalogEdit) -> None:
        _check_card(edit, document)
        edit.put("rate_cards", document)

    return await edit_catalog(call.services, change, with_id(document["id"]))


async def get(call: Call[RateCardGet, NoQuery]) -> Data[RateCard]:
    catalog = await read_catalog(call.services)
    return Data(data=rate_card_answer(catalog.need("rate_cards", call.body.id), catalog.all("pricing_units")))


async def list_all(call: Call[NoBody, RateCardListQuery]) -> Page[RateCard]:
    catalog = await read_catalog(call.services)
    cards = [each for each in catalog.all("rate_cards").values() if each["archived_at"] is None]
    shown, cursor = page(cards, lambda each: (each["created_at"], each["id"]), call.query.limit, call.query.next_page)
    units = catalog.all("pricing_units")
    return Page(data=[rate_card_answer(each, units) for each in shown], next_page=cursor)


async def update(call: Call[RateCardUpdate, NoQuery]) -> Data[IdAnswer]:
    def change(edit: CatalogEdit) -> None:
        document = edit.need("rate_cards", call.body.rate_card_id)
        no_longer("rate_cards", document)
        changed = updated_rate_card(document, call.body)
        _check_card(edit, changed)
        edit.put("rate_cards", changed)

    return await edit_catalog(call.services, change, with_id(call.body.rate_card_id))


async def set_product_order(call: Call[SetProductOrder, NoQuery]) -> Data[IdAnswer]:
    return await _reorder(call.services, call.body.rate_card_id, lambda card: with_order(card, call.body))


async def move_products(call: Call[MoveProducts, NoQuery]) -> Data[IdAnswer]:
    return await _reorder(call.services, call.body.rate_card_id, lambda card: with_moves(card, call.body))


async def _reorder(services: Services, card_id: str, reorder: Callable[[Document], Document]) -> Data[IdAnswer]:
    def change(edit: CatalogEdit) -> None:
        card = edit.need("rate_cards", card_id)
        no_longer("rate_cards", card)
        edit.put("rate_cards", reorder(card))

    return await edit_catalog(services, change, with_id(card_id))


async def archive(call: Call[RateCardArchive, NoQuery]) -> Data[IdAnswer]:
    """Contracts that use the card go on; new ones may not."""

    def change(edit: CatalogEdit) -> None:
        document = edit.need("rate_cards", call.body.id)
        if document["archived_at"] is None:
            edit.put("rate_cards", {**document, "archived_at": call.now})

    return await edit_catalog(call.services, change, with_id(call.body.id))


def _add(edit: CatalogEdit, card_id: str, rates: Iterable[tuple[str, Rate]]) -> None:
    """``rates``: with the place in the body that a refusal names. All of them are added, or none."""
    card = edit.need("rate_cards", card_id)
    no_longer("rate_cards", card)
    added = []
    for place, rate in rates:
        product = edit.need("products", rate.product_id)
        no_longer("products", product)
        unit = edit.get("pricing_units", rate.credit_type_id)
        check_rate(place, rate, product, card, unit)
        added.append(rate_document(rate))
    if len(card["rates"]) + len(added) > RATES_MAX:
        raise BadRequest(f"rates: a rate card holds at most {RATES_MAX} rates")
    edit.put("rate_cards", {**card, "rates": [*card["rates"], *added]})


async def add_rate(call: Call[AddRate, NoQuery]) -> Data[AddedRate]:
    def change(edit: CatalogEdit) -> AddedRate:
        _add(edit, call.body.rate_card_id, [("", call.body)])
        document = rate_document(call.body)
        shown = rate_answer(document, edit.all("pricing_units")).model_dump(exclude_unset=True)
        return AddedRate.model_validate(shown | {name: document[name] for name in ("commit_rate",) if name in document})

    def answer(added: AddedRate) -> Data[AddedRate]:
        return Data(data=added)

    return await edit_catalog(call.services, change, answer)


async def add_rates(call: Call[AddRates, NoQuery]) -> Data[IdAnswer]:
    places = [(f"rates[{index}].", rate) for index, rate in enumerate(call.body.rates)]
    return await edit_catalog(
        call.services, lambda edit: _add(edit, call.body.rate_card_id, places), with_id(call.body.rate_card_id)
    )


ROUTES: list[Route] = [
    route("POST", f"{_BASE}/create", create, "Create a rate card"),
    route("POST", f"{_BASE}/get", get, "Get a rate card"),
    route("POST", f"{_BASE}/list", list_all, "List rate cards"),
    route("POST", f"{_BASE}/update", update, "Update a rate card"),
    route("POST", f"{_BASE}/archive", archive, "Archive a rate card"),
    route("POST", f"{_BASE}/setRateCardProductsOrder", set_product_order, "Set the order of a rate card's products"),
    route("POST", f"{_BASE}/moveRateCardProducts", move_products, "Move products in a rate card's order"),
    route("POST", f"{_BASE}/addRate", add_rate, "Add a rate"),
    route("POST", f"{_BASE}/addRates", add_rates, "Add rates"),
]
