"""Credit types: US dollars in cents, which is built in, and custom pricing units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from engine.catalog import USD_CENTS
from schemas.common import Answer, Body, Id, Name, PageQuery
from schemas.documents import Document, encode
from schemas.errors import BadRequest

USD_NAME = "USD (cents)"


class PricingUnitCreate(Body):
    name: Name


class PricingUnitArchive(Body):
    id: Id


class PricingUnitQuery(PageQuery):
    pass


class PricingUnit(Answer):
    id: str
    name: str
    is_currency: bool


class CreditType(Answer):
    """How answers of other resources name a credit type."""

    id: str
    name: str


def pricing_unit_document(body: PricingUnitCreate, unit_id: str, now: str) -> Document:
    return {"id": unit_id, "name": body.name, "created_at": now, "archived_at": None}


def pricing_units(documents: list[Document]) -> list[PricingUnit]:
    """Every credit type that may be used: US dollars first, then the units that are not archived, oldest first."""
    units = sorted((each for each in documents if each["archived_at"] is None), key=lambda each: (each["created_at"], each["id"]))
    return [
        PricingUnit(id=USD_CENTS, name=USD_NAME, is_currency=True),
        *(PricingUnit(id=each["id"], name=each["name"], is_currency=False) for each in units),
    ]


def refuse_used(unit_id: str, all_of: Callable[[str], Mapping[str, Document]]) -> None:
    """Raises BadRequest if a rate card or an alert for all customers uses the unit. ``all_of``: documents of a kind, by id."""
    for card in all_of("rate_cards").values():
        converted = {each["custom_credit_type_id"] for each in card["credit_type_conversions"]}
        if card["archived_at"] is None and unit_id in converted:
            raise BadRequest(f"id: the rate card {card['id']} uses the credit type")
    _refuse_alerts(unit_id, all_of("alerts").values())


def refuse_held(unit_id: str, customer: Document) -> None:
    """Raises BadRequest if a commit, a credit, a contract or an alert of a customer that is not archived uses the unit."""
    if customer["archived_at"] is not None:
        return
    for balance in customer.get("balances") or ():
        if balance["archived_at"] is None and balance["access_schedule"]["credit_type_id"] == unit_id:
            raise BadRequest(f"id: a commit or credit ({balance['id']}) is in the credit type")
    for contract in customer["contracts"]:
        if contract["archived_at"] is None and unit_id.encode() in encode(contract):
            raise BadRequest(f"id: the contract {contract['id']} uses the credit type")
    _refuse_alerts(unit_id, customer["alerts"])


def _refuse_alerts(unit_id: str, alerts: Iterable[Document]) -> None:
    for alert in alerts:
        if alert["archived_at"] is None and alert.get("credit_type_id") == unit_id:
            raise BadRequest(f"id: the alert {alert['id']} is on the credit type")


def credit_type(units: dict[str, Document], credit_type_id: str) -> CreditType:
    """``units``: by id, archived ones included, since what uses them still shows their name."""
    if credit_type_id == USD_CENTS:
        return CreditType(id=USD_CENTS, name=USD_NAME)
    return CreditType(id=credit_type_id, name=units[credit_type_id]["name"])
