"""/v1/packages, and the terms that a contract takes from one"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from connectors.http.contracts import new_contract
from connectors.http.editing import CatalogEdit, edit_catalog, read_catalog, with_id
from connectors.http.pages import decode_cursor, encode_cursor, page
from connectors.http.routing import Call, Route, route
from connectors.redis.types import KeyClaim
from engine.periods import HOUR_US
from schemas.alias_times import check_own_aliases, without_aliases
from schemas.common import Data, IdAnswer, NoQuery, Page, PageQuery
from schemas.contracts import listed_contracts
from schemas.documents import Document
from schemas.errors import BadRequest
from schemas.package_answers import ContractOnPackage, Package, package_answer
from schemas.packages import (
    ContractsOnPackage,
    PackageArchive,
    PackageCreate,
    PackageGet,
    PackageList,
    PackageListQuery,
    contract_request,
    package_document,
)

PACKAGES_MAX = 1_000
_SCAN = 500
_TRIAL_CUSTOMER = "00000000-0000-4000-8000-000000000000"


async def _tried(call: Call[PackageCreate, NoQuery], package: Document) -> None:
    """Makes a contract of the package that starts now, and drops it: what would be refused then is refused already. The rate
    card of an alias may be any that ever has it."""
    starting_us = call.now_us // HOUR_US * HOUR_US
    given = {"customer_id": _TRIAL_CUSTOMER}
    body = contract_request(package, given, datetime.fromtimestamp(starting_us // 1_000_000, UTC))
    if body.rate_card_alias is not None:
        cards = (await read_catalog(call.services)).all("rate_cards").values()
        named = [
            each["id"]
            for each in cards
            if each["archived_at"] is None and any(alias["name"] == body.rate_card_alias for alias in each["aliases"])
        ]
        if not named:
            raise BadRequest(f"rate_card_alias: no rate card has the alias {body.rate_card_alias!r}")
        body = body.model_copy(update={"rate_card_alias": None, "rate_card_id": named[0]})
    await new_contract(call.services, body, call.now)


async def create(call: Call[PackageCreate, NoQuery]) -> Data[IdAnswer]:
    services, body = call.services, call.body
    document = package_document(body, services.new_id(), services.new_id, call.now)
    check_own_aliases(document["aliases"])
    await _tried(call, document)

    def change(edit: CatalogEdit) -> None:
        packages = edit.all("packages").values()
        if len(packages) >= PACKAGES_MAX:
            raise BadRequest(f"name: there may be at most {PACKAGES_MAX} packages, archived ones included")
        for other in packages:
            changed = without_aliases(other, document["aliases"])
            if changed is not other:
                edit.put("packages", changed)
        edit.put("packages", document)
        if body.uniqueness_key is not None:
            edit.claims.append(KeyClaim("packages", body.uniqueness_key, document["id"]))

    return await edit_catalog(services, change, with_id(document["id"]))


async def get(call: Call[PackageGet, NoQuery]) -> Data[Package]:
    catalog = await read_catalog(call.services)
    return Data(
        data=package_answer(catalog.need("packages", call.body.package_id), catalog.all("products"), catalog.all("pricing_units"))
    )


def _listed(package: Document, archive_filter: str) -> bool:
    return archive_filter == "ALL" or (package["archived_at"] is not None) == (archive_filter == "ARCHIVED")


async def list_all(call: Call[PackageList, PackageListQuery]) -> Page[Package]:
    catalog = await read_catalog(call.services)
    listed = [each for each in catalog.all("packages").values() if _listed(each, call.body.archive_filter)]
    shown, cursor = page(listed, lambda each: (each["created_at"], each["id"]), call.query.limit, call.query.next_page)
    products, units = catalog.all("products"), catalog.all("pricing_units")
    return Page(data=[package_answer(each, products, units) for each in shown], next_page=cursor)


async def archive(call: Call[PackageArchive, NoQuery]) -> Data[IdAnswer]:
    """Contracts that were made with it go on; new ones may not be."""

    def change(edit: CatalogEdit) -> None:
        document = edit.need("packages", call.body.package_id)
        if document["archived_at"] is None:
            edit.put("packages", {**document, "archived_at": call.now})

    return await edit_catalog(call.services, change, with_id(call.body.package_id))


async def list_contracts(call: Call[ContractsOnPackage, PageQuery]) -> Page[ContractOnPackage]:
    """By customer, in the order in which customers were made. Packages have no index: all customers are searched."""
    services, body = call.services, call.body
    (await read_catalog(services)).need("packages", body.package_id)
    position = decode_cursor(call.query.next_page, (str, str, str))
    before, customer_from, contract_from = (str(each) for each in position or ("", "", ""))
    after = before or None
    data: list[ContractOnPackage] = []
    cursor = ""
    while ids := await services.customers.list(after, _SCAN):
        found = await services.customers.get_many(ids)
        for customer_id in ids:
            raw = found[customer_id][1] if customer_id in found else b""
            held = orjson.loads(raw)["contracts"] if body.package_id.encode() in raw else []
            contracts = [each for each in listed_contracts(held, body) if each.get("package_id") == body.package_id]
            for contract in sorted(contracts, key=lambda each: str(each["id"])):
                if customer_id == customer_from and contract["id"] <= contract_from:
                    continue
                if len(data) == call.query.limit:
                    return Page(data=data, next_page=cursor)
                shown = {**contract, "contract_id": contract["id"], "customer_id": customer_id}
                data.append(ContractOnPackage.model_validate(shown))
                cursor = encode_cursor(after or "", customer_id, contract["id"])
            after = customer_id
    return Page(data=data, next_page=None)


_BASE = "/v1/packages"

ROUTES: list[Route] = [
    route("POST", f"{_BASE}/create", create, "Create a package"),
    route("POST", f"{_BASE}/get", get, "Get a package"),
    route("POST", f"{_BASE}/list", list_all, "List packages"),
    route("POST", f"{_BASE}/archive", archive, "Archive a package"),
    route("POST", f"{_BASE}/listContractsOnPackage", list_contracts, "List the contracts of a package"),
]
