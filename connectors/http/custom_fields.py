"""/v1/customFields: which keys there are, and values set apart from their entity's other fields."""

from __future__ import annotations

import orjson

from connectors.http.all_customers import customers_holding
from connectors.http.editing import (
    CatalogEdit,
    edit_catalog,
    edit_catalog_on_the_way,
    edit_customer,
    edit_customer_on_the_way,
    empty,
    read_catalog,
)
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.http.unique_fields import claim_values, release_values
from connectors.redis.types import KeyClaim
from schemas.common import CursorQuery, NoQuery, Page
from schemas.custom_fields import (
    BALANCE_ENTITIES,
    CATALOG_KINDS,
    FIELDS_MAX,
    KEYS_KIND,
    AddKey,
    CustomFieldKey,
    DeleteValues,
    ListKeys,
    RemoveKey,
    SetValues,
    duplicate,
    holds,
    key_document,
    key_id,
    values_in,
    with_fields,
    with_values,
)
from schemas.documents import Document
from schemas.errors import BadRequest, Conflict, NotFound, NotSupported
from schemas.recurring_answers import with_own_document

_PAGE = 100
_CLAIMING = "claiming"
"""Marks a key for which not all values that were there are claimed yet: whoever adds it again goes on with that."""
RECURRING_TEXT = b'"recurring":[{'
"""What the document of a customer with recurring commits or credits holds."""


async def add_key(call: Call[AddKey, NoQuery]) -> None:
    """A key that is there already stays as it is. With uniqueness, values that are there must be unique already. (A value that
    another request is writing at this very moment may be missed; later ones are not.)"""
    services, body = call.services, call.body
    if body.entity == "alert" and body.enforce_uniqueness:
        raise NotSupported("enforce_uniqueness: is not supported for alert")

    claims_values = body.enforce_uniqueness and body.entity not in CATALOG_KINDS

    def change(edit: CatalogEdit) -> bool:
        held = edit.get(KEYS_KIND, key_id(body.entity, body.key))
        if held is not None and held["archived_at"] is None:
            if held["enforce_uniqueness"] != body.enforce_uniqueness:
                raise Conflict(f"key: {body.key!r} exists for {body.entity} with another enforce_uniqueness")
            return bool(held.get(_CLAIMING))
        edit.put(KEYS_KIND, key_document(body, call.now) | ({_CLAIMING: True} if claims_values else {}))
        kind = CATALOG_KINDS.get(body.entity)
        if kind is not None and body.enforce_uniqueness:
            documents = edit.all(kind).values()
            _refuse_duplicate(body.entity, duplicate(documents, documents, [body.key]))
        return claims_values

    if not await edit_catalog_on_the_way(services, change):
        return
    claims: list[KeyClaim] = []
    try:
        async for customer in customers_holding(services):
            values = [each for each in values_in(customer) if (each.entity, each.key) == (body.entity, body.key)]
            claims += await claim_values(services, customer["id"], values)
    except Conflict:
        await release_values(services, claims)
        await _archive_key(call, body.entity, body.key)
        raise

    def all_claimed(edit: CatalogEdit) -> None:
        held = edit.need(KEYS_KIND, key_id(body.entity, body.key))
        edit.put(KEYS_KIND, {name: value for name, value in held.items() if name != _CLAIMING})

    await edit_catalog(services, all_claimed, empty)


def _refuse_duplicate(entity: str, found: tuple[str, Document] | None) -> None:
    if found is not None:
        raise Conflict(f"custom_fields: another {entity} has this value of {found[0]!r}.", found[1]["id"])


async def _archive_key(call: Call[AddKey, NoQuery] | Call[RemoveKey, NoQuery], entity: str, key: str) -> None:
    def change(edit: CatalogEdit) -> None:
        held = edit.get(KEYS_KIND, key_id(entity, key))
        if held is None or held["archived_at"] is not None:
            raise NotFound(f"there is no custom field {key!r} for {entity}")
        edit.put(KEYS_KIND, {**held, "archived_at": call.now})

    await edit_catalog_on_the_way(call.services, change)


async def remove_key(call: Call[RemoveKey, NoQuery]) -> None:
    """Values that are there go with it, one entity after the other."""
    services, entity, key = call.services, call.body.entity, call.body.key
    kind = CATALOG_KINDS.get(entity)

    def without_key(customer: Document) -> Document | None:
        changed = with_values(customer, entity, None, {}, [key])
        return None if changed == customer else changed

    if kind is None or entity == "alert":
        async for customer in customers_holding(services, orjson.dumps(key)):
            if any((each.entity, each.key) == (entity, key) for each in values_in(customer)):
                await edit_customer_on_the_way(services, customer["id"], without_key)

    def change(edit: CatalogEdit) -> None:
        for document in edit.all(kind).values() if kind is not None else ():
            if key in (document.get("custom_fields") or {}):
                edit.put(kind or "", with_fields(document, {}, [key]))
        held = edit.get(KEYS_KIND, key_id(entity, key))
        if held is None or held["archived_at"] is not None:
            raise NotFound(f"there is no custom field {key!r} for {entity}")
        edit.put(KEYS_KIND, {**held, "archived_at": call.now})

    await edit_catalog(services, change, empty)


async def list_keys(call: Call[ListKeys, CursorQuery]) -> Page[CustomFieldKey]:
    entities = call.body.entities
    keys = [
        each
        for each in (await read_catalog(call.services)).all(KEYS_KIND).values()
        if each["archived_at"] is None and (not entities or each["entity"] in entities)
    ]
    shown, cursor = page(keys, lambda each: (each["entity"], each["key"]), _PAGE, call.query.next_page)
    return Page(data=[CustomFieldKey.model_validate(each) for each in shown], next_page=cursor)


async def _owner(services: Services, entity: str, entity_id: str) -> str:
    """The customer whose document holds the entity. But for customers there is no index: all of them are searched; for commits
    and credits first by their id, and then those that have recurring ones, whose children are in no document."""
    if entity == "customer":
        return entity_id
    async for customer in customers_holding(services, entity_id.encode()):
        if holds(customer, entity, entity_id):
            return str(customer["id"])
    if entity in BALANCE_ENTITIES:
        async for customer in customers_holding(services, RECURRING_TEXT):
            if holds(_with_own(services, customer, entity, entity_id), entity, entity_id):
                return str(customer["id"])
    raise NotFound(f"there is no {entity} {entity_id}")


def _with_own(services: Services, customer: Document, entity: str, entity_id: str) -> Document:
    """The customer's document in which a commit or credit that a recurring one has made has a document of its own."""
    return with_own_document(customer, entity_id, services.now_us()) if entity in BALANCE_ENTITIES else customer


def _checked(document: Document) -> Document:
    if len(document["custom_fields"]) > FIELDS_MAX:
        raise BadRequest(f"custom_fields: an entity has at most {FIELDS_MAX} values")
    return document


async def _write(services: Services, entity: str, entity_id: str, fields: dict[str, str], without: list[str]) -> None:
    kind = CATALOG_KINDS.get(entity)
    if kind is not None and not (entity == "alert" and await services.catalog.get(kind, entity_id) is None):
        await edit_catalog(
            services, lambda edit: edit.put(kind, _checked(with_fields(edit.need(kind, entity_id), fields, without))), empty
        )
        return

    def change(customer: Document) -> Document | None:
        customer = _with_own(services, customer, entity, entity_id)
        if not holds(customer, entity, entity_id):
            raise NotFound(f"there is no {entity} {entity_id}")
        changed = with_values(customer, entity, entity_id, fields, without)
        held = [each for each in values_in(changed) if (each.entity, each.entity_id) == (entity, entity_id)]
        if len(held) > FIELDS_MAX:
            raise BadRequest(f"custom_fields: an entity has at most {FIELDS_MAX} values")
        return None if changed == customer else changed

    await edit_customer(services, await _owner(services, entity, entity_id), change, empty)


async def set_values(call: Call[SetValues, NoQuery]) -> None:
    body = call.body
    for key in body.custom_fields:
        key_held = await call.services.catalog.get(KEYS_KIND, key_id(body.entity, key))
        if key_held is None or orjson.loads(key_held)["archived_at"] is not None:
            raise BadRequest(f"custom_fields: there is no key {key!r} for {body.entity}; add it with addKey")
    await _write(call.services, body.entity, body.entity_id, body.custom_fields, [])


async def delete_values(call: Call[DeleteValues, NoQuery]) -> None:
    await _write(call.services, call.body.entity, call.body.entity_id, {}, call.body.keys)


ROUTES: list[Route] = [
    route("POST", "/v1/customFields/addKey", add_key, "Add a custom field key"),
    route("POST", "/v1/customFields/removeKey", remove_key, "Remove a custom field key and its values"),
    route("POST", "/v1/customFields/listKeys", list_keys, "List custom field keys"),
    route("POST", "/v1/customFields/setValues", set_values, "Set custom field values of one entity"),
    route("POST", "/v1/customFields/deleteValues", delete_values, "Delete custom field values of one entity"),
]
