"""/v1/contracts, and reading them as /v2/contracts"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connectors.http.editing import claim_for_customer, edit_customer, get_customer, no_longer, read_catalog, unknown
from connectors.http.pages import page
from connectors.http.routing import Call, Route, route
from connectors.http.services import Services
from connectors.redis.types import KeyClaim
from engine.periods import HOUR_US, period_at
from schemas.common import CursorPage, Data, IdAnswer, NoQuery, rfc3339
from schemas.contracts import (
    Contract,
    ContractArchive,
    ContractCreate,
    ContractGet,
    ContractGetV2,
    ContractList,
    ContractListQuery,
    ContractUpdateEndDate,
    ContractV2,
    contract_answer,
    contract_document,
    contract_v2_answer,
    listed_contracts,
)
from schemas.documents import Document, contract_of, instant_us
from schemas.errors import BadRequest
from schemas.rate_rules import card_of_alias

CONTRACTS_MAX = 500
"""Of one customer, archived ones included. They are one document with it."""


async def _rate_card_id(services: Services, body: ContractCreate) -> str | None:
    if body.rate_card_id is None and body.rate_card_alias is None:
        return None
    catalog = await read_catalog(services)
    if body.rate_card_id is not None:
        card = catalog.need("rate_cards", body.rate_card_id)
        no_longer("rate_cards", card)
        return body.rate_card_id
    cards = [each for each in catalog.all("rate_cards").values() if each["archived_at"] is None]
    found = card_of_alias(body.rate_card_alias or "", instant_us(rfc3339(body.starting_at)), cards)
    if found is None:
        raise BadRequest(f"rate_card_alias: no rate card has the alias {body.rate_card_alias!r} when the contract starts")
    return str(found["id"])


async def create(call: Call[ContractCreate, NoQuery]) -> Data[IdAnswer]:
    services, body = call.services, call.body
    no_longer("customers", await get_customer(services, body.customer_id))
    document = contract_document(body, services.new_id(), await _rate_card_id(services, body), call.now)

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        if len(customer["contracts"]) >= CONTRACTS_MAX:
            raise BadRequest(f"customer_id: a customer has at most {CONTRACTS_MAX} contracts")
        return {**customer, "contracts": [*customer["contracts"], document], "updated_at": call.now}

    claim = KeyClaim("contracts", body.uniqueness_key, document["id"], body.customer_id) if body.uniqueness_key else None
    if claim is not None:
        await claim_for_customer(services, claim, call.now_ms)
    try:
        await edit_customer(services, body.customer_id, change)
    except BadRequest:
        if claim is not None:
            await services.customers.release_key(claim)
        raise
    return Data(data=IdAnswer(id=document["id"]))


def _contract(customer: Document, contract_id: str) -> Document:
    for contract in customer["contracts"]:
        if contract["id"] == contract_id:
            found: Document = contract
            return found
    raise unknown("contracts", contract_id)


async def _read(services: Services, body: ContractGet) -> Document:
    return _contract(await get_customer(services, body.customer_id), body.contract_id)


async def get(call: Call[ContractGet, NoQuery]) -> Data[Contract]:
    return Data(data=contract_answer(call.body.customer_id, await _read(call.services, call.body)))


async def get_v2(call: Call[ContractGetV2, NoQuery]) -> Data[ContractV2]:
    return Data(data=contract_v2_answer(call.body.customer_id, await _read(call.services, call.body)))


async def _list(call: Call[ContractList, ContractListQuery]) -> tuple[list[Document], str | None]:
    customer = await get_customer(call.services, call.body.customer_id)
    contracts = listed_contracts(customer["contracts"], call.body)
    return page(contracts, lambda each: (each["created_at"], each["id"]), call.body.limit, call.body.cursor, "cursor")


async def list_all(call: Call[ContractList, ContractListQuery]) -> CursorPage[Contract]:
    shown, cursor = await _list(call)
    return CursorPage(data=[contract_answer(call.body.customer_id, each) for each in shown], cursor=cursor)


async def list_all_v2(call: Call[ContractList, ContractListQuery]) -> CursorPage[ContractV2]:
    shown, cursor = await _list(call)
    return CursorPage(data=[contract_v2_answer(call.body.customer_id, each) for each in shown], cursor=cursor)


async def _edit(
    call: Call[Any, NoQuery], customer_id: str, contract_id: str, change: Callable[[Document], Document]
) -> Data[IdAnswer]:
    def change_customer(customer: Document) -> Document | None:
        contract = _contract(customer, contract_id)
        changed = change(contract)
        if changed == contract:
            return None
        contracts = [changed if each["id"] == contract_id else each for each in customer["contracts"]]
        return {**customer, "contracts": contracts, "updated_at": call.now}

    await edit_customer(call.services, customer_id, change_customer)
    return Data(data=IdAnswer(id=contract_id))


async def archive(call: Call[ContractArchive, NoQuery]) -> Data[IdAnswer]:
    """An archived contract counts as never made; its uniqueness key stays used."""

    def change(contract: Document) -> Document:
        return contract if contract["archived_at"] is not None else {**contract, "archived_at": call.now}

    return await _edit(call, call.body.customer_id, call.body.contract_id, change)


def _cuts_final_invoice(contract: Document, ending_us: int, now_us: int, grace_hours: int) -> bool:
    """Whether the contract's period that holds the new end is over, grace included."""
    config = contract_of(contract)
    period = period_at(config.schedule, config.starting_hour, config.ending_hour, ending_us // HOUR_US)
    return period is not None and (period.ending_hour + grace_hours) * HOUR_US <= now_us


async def update_end_date(call: Call[ContractUpdateEndDate, NoQuery]) -> Data[IdAnswer]:
    ending = call.body.ending_before

    def change(contract: Document) -> Document:
        no_longer("contracts", contract)
        if ending is not None:
            ending_us = instant_us(rfc3339(ending))
            if ending_us <= instant_us(contract["starting_at"]):
                raise BadRequest("ending_before: must be after the contract's starting_at")
            final = _cuts_final_invoice(contract, ending_us, call.now_us, call.services.settings.grace_period_hours)
            if final and not call.body.allow_ending_before_finalized_invoice:
                raise BadRequest("ending_before: lies before the end of an invoice that is final")
        return {**contract, "ending_before": None if ending is None else rfc3339(ending)}

    return await _edit(call, call.body.customer_id, call.body.contract_id, change)


ROUTES: list[Route] = [
    route("POST", "/v1/contracts/create", create, "Create a contract"),
    route("POST", "/v1/contracts/get", get, "Get a contract"),
    route("POST", "/v1/contracts/list", list_all, "List a customer's contracts"),
    route("POST", "/v1/contracts/archive", archive, "Archive a contract"),
    route("POST", "/v1/contracts/updateEndDate", update_end_date, "Move the end of a contract"),
    route("POST", "/v2/contracts/get", get_v2, "Get a contract"),
    route("POST", "/v2/contracts/list", list_all_v2, "List a customer's contracts"),
]
