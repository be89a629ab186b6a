"""Custom fields: keys by kind of entity, and their values in the documents of what carries them. Pure.

    key       {id: "<entity>/<key>", entity, key, enforce_uniqueness, created_at, archived_at?}      one document each
    values    "custom_fields" of the entity's own document

Contracts, their subscriptions and scheduled charges, commits and credits are parts of their customer's document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from schemas.common import Answer, Body, CustomFieldValue, Id, Key, distinct
from schemas.documents import Document

KEYS_KIND = "custom_field_keys"
FIELDS_MAX = 100
"""Of one entity."""

CATALOG_KINDS = {
    "billable_metric": "metrics",
    "product": "products",
    "contract_product": "products",
    "rate_card": "rate_cards",
    "alert": "alerts",
}
"""An alert of one customer is in that customer's document instead."""
CONTRACT_PARTS = {"subscription": "subscriptions", "scheduled_charge": "scheduled_charges"}
"""Lists of a contract's document whose items carry custom fields."""
BALANCE_ENTITIES = frozenset({"commit", "contract_credit"})
CUSTOMER_ENTITIES = frozenset({"customer", "contract", "commit", "contract_credit", *CONTRACT_PARTS})
LATER_ENTITIES = frozenset(
    {
        "charge",
        "credit_grant",
        "customer_plan",
        "discount",
        "invoice",
        "plan",
        "professional_service",
        "package_commit",
        "package_credit",
        "package_subscription",
        "package_scheduled_charge",
    }
)


def _entity(value: object) -> object:
    if isinstance(value, str) and value in LATER_ENTITIES:
        raise PydanticCustomError("unsupported", "the entity {value} is not supported yet", {"value": value})
    return value


def _known(value: str) -> str:
    if value not in CATALOG_KINDS and value not in CUSTOMER_ENTITIES:
        raise ValueError(f"must be one of {', '.join(sorted({*CATALOG_KINDS, *CUSTOMER_ENTITIES}))}")
    return value


Entity = Annotated[str, BeforeValidator(_entity), AfterValidator(_known)]
Value = CustomFieldValue


class AddKey(Body):
    entity: Entity
    key: Key
    enforce_uniqueness: bool


class RemoveKey(Body):
    entity: Entity
    key: Key


class SetValues(Body):
    entity: Entity
    entity_id: Id
    custom_fields: Annotated[dict[Key, Value], Field(max_length=FIELDS_MAX)]


class DeleteValues(Body):
    entity: Entity
    entity_id: Id
    keys: Annotated[list[Key], Field(max_length=FIELDS_MAX), AfterValidator(distinct)]


class ListKeys(Body):
    entities: list[str] = Field(default_factory=list)


class CustomFieldKey(Answer):
    entity: str
    key: str
    enforce_uniqueness: bool


class FieldValue(NamedTuple):
    """One value of one entity."""

    entity: str
    entity_id: str
    key: str
    value: str


def key_id(entity: str, key: str) -> str:
    return f"{entity}/{key}"


def key_document(body: AddKey, now: str) -> Document:
    return {
        "id": key_id(body.entity, body.key),
        "entity": body.entity,
        "key": body.key,
        "enforce_uniqueness": body.enforce_uniqueness,
        "created_at": now,
        "archived_at": None,
    }


def unique_keys(keys: Iterable[Document]) -> frozenset[tuple[str, str]]:
    """(entity, key) of those that enforce uniqueness."""
    return frozenset((each["entity"], each["key"]) for each in keys if each["enforce_uniqueness"] and each["archived_at"] is None)


def _balance_entity(balance: Document) -> str:
    return "contract_credit" if balance["type"] == "CREDIT" else "commit"


def _parts(customer: Document) -> Iterator[tuple[str, Document]]:
    """(entity, document) of everything in a customer's document that carries custom fields."""
    yield "customer", customer
    for contract in customer["contracts"]:
        yield "contract", contract
        for entity, name in CONTRACT_PARTS.items():
            yield from ((entity, each) for each in contract.get(name) or ())
    for balance in customer.get("balances") or ():
        yield _balance_entity(balance), balance
    for alert in customer["alerts"]:
        yield "alert", alert


def values_in(customer: Document) -> Iterator[FieldValue]:
    for entity, document in _parts(customer):
        for key, value in (document.get("custom_fields") or {}).items():
            yield FieldValue(entity, document["id"], key, value)


def holds(customer: Document, entity: str, entity_id: str) -> bool:
    return any(part == entity and document["id"] == entity_id for part, document in _parts(customer))


def with_fields(document: Document, fields: Mapping[str, str], without: Iterable[str] = ()) -> Document:
    """The document of one entity with values set and deleted."""
    gone = set(without)
    kept = {key: value for key, value in (document.get("custom_fields") or {}).items() if key not in gone}
    return {**document, "custom_fields": {**kept, **fields}}


def with_values(
    customer: Document, entity: str, entity_id: str | None, fields: Mapping[str, str], without: Iterable[str] = ()
) -> Document:
    """The customer's document with the values of one of its parts (None: of all parts of that kind) set and deleted."""
    gone = frozenset(without)

    def changed(part: str, document: Document) -> Document:
        return with_fields(document, fields, gone) if part == entity and entity_id in (None, document["id"]) else document

    def changed_contract(contract: Document) -> Document:
        parts = {
            name: [changed(part, each) for each in contract[name]] for part, name in CONTRACT_PARTS.items() if contract.get(name)
        }
        return {**changed("contract", contract), **parts}

    new = changed("customer", customer)
    new = {**new, "contracts": [changed_contract(each) for each in customer["contracts"]]}
    new["alerts"] = [changed("alert", each) for each in customer["alerts"]]
    if customer.get("balances"):
        new["balances"] = [changed(_balance_entity(each), each) for each in customer["balances"]]
    return new


def duplicate(documents: Iterable[Document], changed: Iterable[Document], keys: Iterable[str]) -> tuple[str, Document] | None:
    """The first key of ``keys`` whose value a changed document shares with another one, and that other one."""
    every = list(documents)
    for key in keys:
        for document in changed:
            value = (document.get("custom_fields") or {}).get(key)
            if value is None:
                continue
            for other in every:
                if other["id"] != document["id"] and (other.get("custom_fields") or {}).get(key) == value:
                    return key, other
    return None
