"""/v1/contracts, and reading them as /v2/contracts"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from connectors.http.closed import closed_hour
from connectors.http.contract_balances import new_balances, placed, real_ids, show_balances
from connectors.http.contract_overrides import named_in, with_own_prices
from connectors.http.contract_recurring import with_own_recurring
from connectors.http.editing import claim_of, edit_customer, get_customer, no_longer, read_catalog, unknown, with_id
from connectors.http.pages import page
from connectors.http.replies import Answered
from connectors.http.routing import Call, Route, route
from connectors.http.scheduled_charges import new_charges
from connectors.http.services import Services
from engine.periods import HOUR_US, period_at
from schemas.alias_times import holder_at
from schemas.balance_rules import with_balances
from schemas.billing_configurations import configuration_for
from schemas.closed_periods import closed_warnings
from schemas.common import CursorPage, Data, IdAnswer, NoQuery, Warned, rfc3339, warned
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
from schemas.override_rules import with_real_ids
from schemas.packages import WITH_PACKAGE, contract_request
from schemas.renewals import check_renewals, with_renewal

A = TypeVar("A", bound=Answered)

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
    found = holder_at(body.rate_card_alias or "", instant_us(rfc3339(body.starting_at)), cards)
    if found is None:
        raise BadRequest(f"rate_card_alias: no rate card has the alias {body.rate_card_alias!r} when the contract starts")
    return str(found["id"])


async def new_contract(services: Services, body: ContractCreate, now: str) -> tuple[Document, list[Document]]:
    """The documents of a contract and of its balances, checked against the catalog."""
    document = contract_document(body, services.new_id(), await _rate_card_id(services, body), now)
    document = await with_own_prices(services, body, document)
    document = await with_own_recurring(services, body, document)
    charges = await new_charges(services, body.scheduled_charges, "scheduled_charges", now)
    document = {**document, "scheduled_charges": charges}
    bodies = placed("", body.commits, body.credits)
    balances = await new_balances(services, bodies, document["id"], now)
    return with_real_ids(document, real_ids(bodies, balances)), balances


async def _with_package(services: Services, body: ContractCreate) -> ContractCreate:
    """The request with the terms of the package that it names."""
    if body.package_id is None and body.package_alias is None:
        return body
    for name in sorted(body.model_fields_set - WITH_PACKAGE):
        if getattr(body, name) not in (None, [], {}):
            raise BadRequest(f"{name}: cannot be sent with a package, which has the contract's terms")
    if body.package_id is not None and body.package_alias is not None:
        raise BadRequest("package_id and package_alias exclude each other")
    catalog = await read_catalog(services)
    if body.package_id is not None:
        package = catalog.need("packages", body.package_id)
        no_longer("packages", package)
    else:
        live = [each for each in catalog.all("packages").values() if each["archived_at"] is None]
        found = holder_at(body.package_alias or "", instant_us(rfc3339(body.starting_at)), live)
        if found is None:
            raise BadRequest(f"package_alias: no package has the alias {body.package_alias!r} when the contract starts")
        package = found
    own = body.model_dump(include=set(WITH_PACKAGE - {"package_id", "package_alias", "starting_at"}), exclude_unset=True)
    return contract_request(package, own, body.starting_at)


async def create(call: Call[ContractCreate, NoQuery]) -> Warned[IdAnswer]:
    """``warnings`` name the time before now whose usage will be on no invoice."""
    services = call.services
    no_longer("customers", await get_customer(services, call.body.customer_id))
    body = await _with_package(services, call.body)
    document, balances = await new_contract(services, body, call.now)
    closed = await closed_hour(services, body.customer_id, call.now_us)
    answer = warned(IdAnswer(id=document["id"]), closed_warnings("starting_at", None, document, closed))

    def change(customer: Document) -> Document:
        no_longer("customers", customer)
        if len(customer["contracts"]) >= CONTRACTS_MAX:
            raise BadRequest(f"customer_id: a customer has at most {CONTRACTS_MAX} contracts")
        made = document
        if body.billing_provider_configuration is not None:
            made = {**document, "billing_configuration": configuration_for(customer, body.billing_provider_configuration)}
        with_contract = {**customer, "contracts": [*customer["contracts"], made], "updated_at": call.now}
        with_contract = with_balances(with_contract, balances)
        if body.transition is None:
            return with_contract
        return with_renewal(with_contract, made, body.transition, services.new_id, call.now)

    claim = claim_of("contracts", body.uniqueness_key, document["id"], body.customer_id)
    return await edit_customer(services, body.customer_id, change, lambda _: answer, [claim])


def contract_in(customer: Document, contract_id: str) -> Document:
    for contract in customer["contracts"]:
        if contract["id"] == contract_id:
            found: Document = contract
            return found
    raise unknown("contracts", contract_id)


async def get(call: Call[ContractGet, NoQuery]) -> Data[Contract]:
    customer = await get_customer(call.services, call.body.customer_id)
    contract = contract_in(customer, call.body.contract_id)
    answer = contract_answer(call.body.customer_id, contract, await named_in(call.services, [contract]), call.now_us)
    await show_balances(call.services, customer, [answer], call.body, call.now_us)
    return Data(data=answer)


async def get_v2(call: Call[ContractGetV2, NoQuery]) -> Data[ContractV2]:
    customer = await get_customer(call.services, call.body.customer_id)
    contract = contract_in(customer, call.body.contract_id)
    answer = contract_v2_answer(call.body.customer_id, contract, await named_in(call.services, [contract]), call.now_us)
    await show_balances(call.services, customer, [answer], call.body, call.now_us)
    return Data(data=answer)


def _listed(customer: Document, body: ContractList) -> tuple[list[Document], str | None]:
    contracts = listed_contracts(customer["contracts"], body)
    return page(contracts, lambda each: (each["created_at"], each["id"]), body.limit, body.cursor, "cursor")


async def list_all(call: Call[ContractList, ContractListQuery]) -> CursorPage[Contract]:
    customer = await get_customer(call.services, call.body.customer_id)
    shown, cursor = _listed(customer, call.body)
    named = await named_in(call.services, shown)
    answers = [contract_answer(call.body.customer_id, each, named, call.now_us) for each in shown]
    await show_balances(call.services, customer, answers, call.body, call.now_us)
    return CursorPage(data=answers, cursor=cursor)


async def list_all_v2(call: Call[ContractList, ContractListQuery]) -> CursorPage[ContractV2]:
    customer = await get_customer(call.services, call.body.customer_id)
    shown, cursor = _listed(customer, call.body)
    named = await named_in(call.services, shown)
    answers = [contract_v2_answer(call.body.customer_id, each, named, call.now_us) for each in shown]
    await show_balances(call.services, customer, answers, call.body, call.now_us)
    return CursorPage(data=answers, cursor=cursor)


async def edit_contract(
    call: Call[Any, NoQuery],
    customer_id: str,
    contract_id: str,
    change: Callable[[Document], Document],
    answer: Callable[[object], A],
) -> A:
    """``answer``: as for ``edit_customer``."""

    def change_customer(customer: Document) -> Document | None:
        contract = contract_in(customer, contract_id)
        changed = change(contract)
        if changed == contract:
            return None
        contracts = [changed if each["id"] == contract_id else each for each in customer["contracts"]]
        changed_customer = {**customer, "contracts": contracts, "updated_at": call.now}
        check_renewals(changed_customer, "ending_before")
        return changed_customer

    return await edit_customer(call.services, customer_id, change_customer, answer)


async def archive(call: Call[ContractArchive, NoQuery]) -> Data[IdAnswer]:
    """An archived contract counts as never made; its uniqueness key stays used."""

    def change(contract: Document) -> Document:
        if contract["archived_at"] is not None:
            return contract
        return {**contract, "archived_at": call.now, "voids_invoices": call.body.void_invoices}

    return await edit_contract(call, call.body.customer_id, call.body.contract_id, change, with_id(call.body.contract_id))


def _cuts_final_invoice(contract: Document, ending_us: int, now_us: int, grace_hours: int) -> bool:
    """Whether the contract's period that holds the new end is over, grace included."""
    config = contract_of(contract)
    period = period_at(config.schedule, config.starting_hour, config.ending_hour, ending_us // HOUR_US)
    return period is not None and (period.ending_hour + grace_hours) * HOUR_US <= now_us


def with_end(
    contract: Document, field: str, ending: datetime | None, now_us: int, grace_hours: int, *, allow_final: bool
) -> Document:
    """The contract with another end, None = open. Raises BadRequest, in the name of ``field``, for an end that it cannot have."""
    no_longer("contracts", contract)
    if ending is not None:
        ending_us = instant_us(rfc3339(ending))
        if ending_us <= instant_us(contract["starting_at"]):
            raise BadRequest(f"{field}: must be after the contract's starting_at")
        if _cuts_final_invoice(contract, ending_us, now_us, grace_hours) and not allow_final:
            raise BadRequest(f"{field}: lies before the end of an invoice that is final")
    return {**contract, "ending_before": None if ending is None else rfc3339(ending)}


async def update_end_date(call: Call[ContractUpdateEndDate, NoQuery]) -> Warned[IdAnswer]:
    """``warnings`` name the time before now whose usage will be on no invoice."""
    body, grace_hours = call.body, call.services.settings.grace_period_hours
    closed = await closed_hour(call.services, body.customer_id, call.now_us)
    warnings: list[str] = []

    def change(contract: Document) -> Document:
        allow_final = body.allow_ending_before_finalized_invoice
        moved = with_end(contract, "ending_before", body.ending_before, call.now_us, grace_hours, allow_final=allow_final)
        warnings[:] = closed_warnings("ending_before", contract, moved, closed)
        return moved

    def answer(_: object) -> Warned[IdAnswer]:
        return warned(IdAnswer(id=body.contract_id), warnings)

    return await edit_contract(call, body.customer_id, body.contract_id, change, answer)


ROUTES: list[Route] = [
    route("POST", "/v1/contracts/create", create, "Create a contract"),
    route("POST", "/v1/contracts/get", get, "Get a contract"),
    route("POST", "/v1/contracts/list", list_all, "List a customer's contracts"),
    route("POST", "/v1/contracts/archive", archive, "Archive a contract"),
    route("POST", "/v1/contracts/updateEndDate", update_end_date, "Move the end of a contract"),
    route("POST", "/v2/contracts/get", get_v2, "Get a contract"),
    route("POST", "/v2/contracts/list", list_all_v2, "List a customer's contracts"),
]
