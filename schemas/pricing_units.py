"""Credit types: US dollars in cents, which is built in, and custom pricing units."""

from __future__ import annotations

from engine.catalog import USD_CENTS
from schemas.common import Answer, Body, Id, Name, PageQuery
from schemas.documents import Document

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


def credit_type(units: dict[str, Document], credit_type_id: str) -> CreditType:
    """``units``: by id, archived ones included, since what uses them still shows their name."""
    if credit_type_id == USD_CENTS:
        return CreditType(id=USD_CENTS, name=USD_NAME)
    return CreditType(id=credit_type_id, name=units[credit_type_id]["name"])
