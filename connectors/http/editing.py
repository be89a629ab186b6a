"""Changes of configuration as compare-and-set: read, apply a pure change, write if nobody was faster, else again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from connectors.http.idempotency import kept_answer
from connectors.http.replies import Answered
from connectors.http.services import Services
from connectors.http.unique_fields import claim_difference, release_values, taken_by
from connectors.redis.types import KeyClaim, Stale, Taken
from schemas.alert_specifiers import check_values
from schemas.common import Data, IdAnswer
from schemas.custom_fields import CATALOG_KINDS, KEYS_KIND, duplicate, unique_keys
from schemas.documents import Document, encode, instant_text
from schemas.errors import ApiError, BadRequest, Conflict, NotFound, Unavailable
from schemas.product_states import as_of

T = TypeVar("T")
A = TypeVar("A", bound=Answered)

ATTEMPTS_MAX = 50
KEY_USED = "This uniqueness key has already been used."


@dataclass(slots=True)
class CatalogEdit:
    """The catalog as read, and the changes that are to be written to it. ``now``: when it was read; products are shown as they
    are then."""

    revision: int
    parts: Mapping[str, Mapping[str, bytes]]
    now: str
    sets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    claims: list[KeyClaim] = field(default_factory=list)
    releases: list[KeyClaim] = field(default_factory=list)

    @property
    def next_revision(self) -> int:
        """The revision that writing this edit makes."""
        return self.revision + 1

    def get(self, kind: str, document_id: str) -> Document | None:
        raw = self.parts[kind].get(document_id)
        return None if raw is None else self._shown(kind, orjson.loads(raw))

    def _shown(self, kind: str, document: Document) -> Document:
        return as_of(document, self.now) if kind == "products" else document

    def need(self, kind: str, document_id: str) -> Document:
        document = self.get(kind, document_id)
        if document is None:
            raise unknown(kind, document_id)
        return document

    def all(self, kind: str) -> dict[str, Document]:
        return {document_id: self._shown(kind, orjson.loads(raw)) for document_id, raw in self.parts[kind].items()}

    def put(self, kind: str, document: Document) -> None:
        self.sets.setdefault(kind, {})[document["id"]] = encode(document)


_NAMES = {
    "metrics": "billable metric",
    "products": "product",
    "rate_cards": "rate card",
    "alerts": "alert",
    "pricing_units": "pricing unit",
    "customers": "customer",
    "contracts": "contract",
    "balances": "commit or credit",
    "segments": "segment",
    "invoices": "invoice",
    "endpoints": "webhook endpoint",
    "packages": "package",
}


def name_of(kind: str) -> str:
    return _NAMES[kind]


def unknown(kind: str, document_id: str) -> NotFound:
    return NotFound(f"there is no {name_of(kind)} {document_id}")


def no_longer(kind: str, document: Document) -> None:
    """Raises BadRequest for an archived document, which is kept only to be read."""
    if document["archived_at"] is not None:
        raise BadRequest(f"the {name_of(kind)} {document['id']} is archived")


async def edit_catalog(services: Services, change: Callable[[CatalogEdit], T], answer: Callable[[T], A]) -> A:
    """The change of the catalog that decides a request. ``change`` may be called several times, each time with a fresh edit; what
    it raises refuses the request as a whole. ``answer`` makes the request's answer from what ``change`` gives: it is kept under
    the request's Idempotency-Key in the same step as the change, so it is made before. Raises Repeated (redis/once.py)."""
    return (await _edit_catalog(services, change, answer))[1]


async def edit_catalog_on_the_way(services: Services, change: Callable[[CatalogEdit], T]) -> T:
    """A change of the catalog that a repeated request may make again: it then changes nothing, or the same."""
    return (await _edit_catalog(services, change, None))[0]


async def _edit_catalog(services: Services, change: Callable[[CatalogEdit], T], answer: Callable[[T], A] | None) -> tuple[T, A]:
    async with services.editing:
        for _ in range(ATTEMPTS_MAX):
            revision, parts = await services.catalog.load()
            edit = CatalogEdit(revision, parts, instant_text(services.now_us()))
            given = change(edit)
            answered: Any = None if answer is None else answer(given)
            if not edit.sets:
                return given, answered
            _check_unique_fields(edit)
            kept = b"" if answer is None else kept_answer(answered)
            result = await services.catalog.write(revision, edit.sets, claims=edit.claims, releases=edit.releases, answer=kept)
            if isinstance(result, Taken):
                raise Conflict(KEY_USED, result.id)
            if not isinstance(result, Stale):
                return given, answered
    raise Unavailable("the catalog is being changed by too many requests at once")


def _check_unique_fields(edit: CatalogEdit) -> None:
    """Raises Conflict if a document that the edit writes shares a custom field's value that must be unique."""
    keys = unique_keys(edit.all(KEYS_KIND).values())
    for entity, kind in CATALOG_KINDS.items():
        names = [key for owner, key in keys if owner == entity]
        changed = {document_id: orjson.loads(raw) for document_id, raw in edit.sets.get(kind, {}).items()}
        if names and changed:
            found = duplicate({**edit.all(kind), **changed}.values(), changed.values(), names)
            if found is not None:
                raise Conflict(f"custom_fields: another {entity} has this value of {found[0]!r}.", found[1]["id"])


def with_id(object_id: str) -> Callable[[object], Data[IdAnswer]]:
    """``answer`` of an edit: this id, whatever the documents are."""
    return lambda _: Data(data=IdAnswer(id=object_id))


def empty(_: object) -> None:
    """``answer`` of an edit: none."""


async def read_catalog(services: Services) -> CatalogEdit:
    revision, parts = await services.catalog.load()
    return CatalogEdit(revision, parts, instant_text(services.now_us()))


async def get_document(services: Services, kind: str, document_id: str) -> Document:
    raw = await services.catalog.get(kind, document_id)
    if raw is None:
        raise unknown(kind, document_id)
    document: Document = orjson.loads(raw)
    return document


async def get_customer(services: Services, customer_id: str) -> Document:
    found = await services.customers.get(customer_id)
    if found is None:
        raise unknown("customers", customer_id)
    document: Document = orjson.loads(found[1])
    return document


async def edit_customer(
    services: Services,
    customer_id: str,
    change: Callable[[Document], Document | None],
    answer: Callable[[Document], A],
    claims: Sequence[KeyClaim | None] = (),
) -> A:
    """The change of a customer that decides a request. ``change`` gives the new document, or None if there is nothing to change;
    its version is counted up here. ``answer``: as in ``edit_catalog``, from the document as it will be.

    ``claims``: uniqueness keys of objects that the change puts into the document; ``claim.kind`` is the list that an object is
    put into. They are taken anew at each attempt, after the document was read (CustomerStore.claim_key), and given back if the
    request is refused. Raises Conflict if another object has one, Repeated."""
    async with services.editing_customer(customer_id):
        return await edit_customer_in_turn(services, customer_id, change, answer, claims)


async def edit_customer_on_the_way(
    services: Services, customer_id: str, change: Callable[[Document], Document | None]
) -> Document:
    """A change of a customer that a repeated request may make again: it then changes nothing, or the same. Returns the document
    as it now is."""
    async with services.editing_customer(customer_id):
        return (await _edit_customer(services, customer_id, change, None, ()))[0]


async def edit_customer_in_turn(
    services: Services,
    customer_id: str,
    change: Callable[[Document], Document | None],
    answer: Callable[[Document], A],
    claims: Sequence[KeyClaim | None] = (),
) -> A:
    """As ``edit_customer``, for a caller that holds ``Services.editing_customer``."""
    return (await _edit_customer(services, customer_id, change, answer, claims))[1]


async def _edit_customer(
    services: Services,
    customer_id: str,
    change: Callable[[Document], Document | None],
    answer: Callable[[Document], A] | None,
    claims: Sequence[KeyClaim | None],
) -> tuple[Document, A]:
    for _ in range(ATTEMPTS_MAX):
        found = await services.customers.get(customer_id)
        if found is None:
            raise unknown("customers", customer_id)
        version, raw = found
        document: Document = orjson.loads(raw)
        try:
            for claim in claims:
                if claim is not None:
                    await claim_for_customer(services, claim)
            changed = change(document)
            answered: Any = None if answer is None else answer(document if changed is None else changed)
            if changed is None:
                return document, answered
            changed = {**changed, "version": version + 1}
            await _check_alert_values(services, document, changed)
            _, gone = await claim_difference(services, customer_id, document, changed)
        except ApiError:
            await _give_back(services, claims, document)
            raise
        kept = b"" if answer is None else kept_answer(answered)
        result = await services.customers.update(customer_id, version, encode(changed), kept)
        if not isinstance(result, Stale):
            await release_values(services, gone)
            return changed, answered
    raise Unavailable(f"customer {customer_id} is being changed by too many requests at once")


async def _give_back(services: Services, claims: Sequence[KeyClaim | None], document: Document) -> None:
    """But for those of objects that the document has: another run of the same request made them."""
    for claim in claims:
        if claim is not None and all(each["id"] != claim.id for each in document.get(claim.kind, ())):
            await services.customers.release_key(claim)


async def _check_alert_values(services: Services, before: Document, after: Document) -> None:
    """See ``check_values``; the catalog is only read where there is enough to have so many values."""
    values_max = services.settings.keyed_alert_values_max
    if max(len(after["contracts"]), len(after.get("balances") or ())) > values_max:
        for_all = [orjson.loads(raw) for raw in (await services.catalog.list("alerts")).values()]
        check_values(before, after, for_all, values_max)


async def claim_for_customer(services: Services, claim: KeyClaim) -> None:
    """Takes a uniqueness key for an object of a customer's document. Raises Conflict if another object has it."""

    async def exists(holder: KeyClaim) -> bool:
        if holder.owner is None:
            return await services.catalog.get(holder.kind, holder.id) is not None
        found = await services.customers.get(holder.owner)
        return found is not None and any(each["id"] == holder.id for each in orjson.loads(found[1]).get(holder.kind, ()))

    taken = await services.customers.claim_key(claim, exists, services.now_us() // 1000)
    if taken is not None:
        raise taken_by(KEY_USED, taken)


def claim_of(kind: str, key: str | None, object_id: str, customer_id: str) -> KeyClaim | None:
    return None if key is None else KeyClaim(kind, key, object_id, customer_id)
