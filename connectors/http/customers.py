"""/v1/customers"""

from __future__ import annotations

import orjson

from connectors.http.editing import edit_customer, edit_customer_in_turn, empty, get_customer, no_longer, read_catalog, with_id
from connectors.http.idempotency import kept_answer
from connectors.http.pages import decode_cursor, encode_cursor, page
from connectors.http.routing import Call, Route, route
from connectors.http.unique_fields import claim_difference, release_values, taken_by
from connectors.redis.types import Taken
from schemas.billable_metrics import CustomerMetricsQuery, Metric, metric_answer
from schemas.billing_configurations import with_billing_configurations
from schemas.common import Data, IdAnswer, NoBody, NoQuery, Page
from schemas.customers import (
    Customer,
    CustomerArchive,
    CustomerCreate,
    CustomerDetail,
    CustomerListQuery,
    SetIngestAliases,
    SetName,
    UpdateConfig,
    customer_answer,
    customer_detail,
    customer_document,
)
from schemas.documents import Document, encode
from schemas.errors import ApiError

_SCAN = 200


def _alias_conflict(taken: Taken) -> ApiError:
    return taken_by(f"The ingest alias {taken.key!r} belongs to another customer.", taken)


async def create(call: Call[CustomerCreate, NoQuery]) -> Data[Customer]:
    customer_id = call.services.new_id()
    document = customer_document(call.body, customer_id, call.now)
    billing = call.body.customer_billing_provider_configurations
    document = with_billing_configurations(document, billing, call.services.new_id)
    claimed, _ = await claim_difference(call.services, customer_id, None, document)
    answer = Data(data=customer_answer(document))
    taken = await call.services.customers.create(
        customer_id, document["ingest_aliases"], encode(document), call.now_ms, kept_answer(answer)
    )
    if taken is not None:
        await release_values(call.services, claimed)
        raise _alias_conflict(taken)
    return answer


async def get(call: Call[NoBody, NoQuery]) -> Data[CustomerDetail]:
    return Data(data=customer_detail(await get_customer(call.services, call.path["customer_id"])))


def _matches(document: Document, query: CustomerListQuery) -> bool:
    accounts = query.salesforce_account_ids
    return (document["archived_at"] is not None) == query.only_archived and (
        not accounts or document["customer_config"]["salesforce_account_id"] in accounts
    )


async def _candidates(call: Call[NoBody, CustomerListQuery], after: str | None) -> list[str]:
    """The next ids to look at: all customers in order of creation, or those that the filters name."""
    query, services = call.query, call.services
    if not query.ingest_alias and not query.customer_ids:
        return await services.customers.list(after, _SCAN)
    chosen = sorted(set(query.customer_ids))
    if query.ingest_alias:
        owners = set((await services.catalog.resolve([query.ingest_alias])).values())
        chosen = sorted(owners & set(chosen)) if query.customer_ids else sorted(owners)
    return [customer_id for customer_id in chosen if after is None or customer_id > after][:_SCAN]


async def list_all(call: Call[NoBody, CustomerListQuery]) -> Page[CustomerDetail]:
    position = decode_cursor(call.query.next_page, (str,))
    after = None if position is None else str(position[0])
    shown: list[CustomerDetail] = []
    while ids := await _candidates(call, after):
        found = await call.services.customers.get_many(ids)
        for customer_id in ids:
            document = orjson.loads(found[customer_id][1]) if customer_id in found else None
            if document is not None and _matches(document, call.query):
                if len(shown) == call.query.limit:
                    return Page(data=shown, next_page=encode_cursor(after or ""))
                shown.append(customer_detail(document))
            after = customer_id
    return Page(data=shown, next_page=None)


async def archive(call: Call[CustomerArchive, NoQuery]) -> Data[IdAnswer]:
    def change(document: Document) -> Document | None:
        return None if document["archived_at"] is not None else {**document, "archived_at": call.now, "updated_at": call.now}

    return await edit_customer(call.services, call.body.id, change, with_id(call.body.id))


async def set_ingest_aliases(call: Call[SetIngestAliases, NoQuery]) -> None:
    """Aliases count from the first write on; the second one makes the customer's document show them."""
    services, customer_id, aliases = call.services, call.path["customer_id"], call.body.ingest_aliases
    await get_customer(services, customer_id)
    async with services.editing_customer(customer_id):
        changed = await services.customers.take_aliases(customer_id, aliases, call.now_ms)
        if isinstance(changed, Taken):
            raise _alias_conflict(changed)
        await edit_customer_in_turn(
            services, customer_id, lambda document: {**document, "ingest_aliases": aliases, "updated_at": call.now}, empty
        )
        await services.customers.announce_refs(customer_id, changed)


async def set_name(call: Call[SetName, NoQuery]) -> Data[Customer]:
    def change(document: Document) -> Document:
        no_longer("customers", document)
        return {**document, "name": call.body.name, "updated_at": call.now}

    def answer(document: Document) -> Data[Customer]:
        return Data(data=customer_answer(document))

    return await edit_customer(call.services, call.path["customer_id"], change, answer)


async def update_config(call: Call[UpdateConfig, NoQuery]) -> None:
    changes = call.body.model_dump(exclude_unset=True)

    def change(document: Document) -> Document:
        no_longer("customers", document)
        return {**document, "customer_config": {**document["customer_config"], **changes}, "updated_at": call.now}

    await edit_customer(call.services, call.path["customer_id"], change, empty)


async def list_metrics(call: Call[NoBody, CustomerMetricsQuery]) -> Page[Metric]:
    """All metrics; with ``on_current_plan`` those that the customer's open contracts price."""
    customer = await get_customer(call.services, call.path["customer_id"])
    catalog = await read_catalog(call.services)
    metrics = list(catalog.all("metrics").values())
    if call.query.on_current_plan:
        cards = {each["rate_card_id"] for each in customer["contracts"] if _open(each, call.now)}
        products = {
            rate["product_id"] for card in catalog.all("rate_cards").values() if card["id"] in cards for rate in card["rates"]
        }
        priced = {
            each["current"].get("billable_metric_id") for each in catalog.all("products").values() if each["id"] in products
        }
        metrics = [each for each in metrics if each["id"] in priced]
    if not call.query.include_archived:
        metrics = [each for each in metrics if each["archived_at"] is None]
    shown, cursor = page(metrics, lambda each: (each["created_at"], each["id"]), call.query.limit, call.query.next_page)
    return Page(data=[metric_answer(each) for each in shown], next_page=cursor)


def _open(contract: Document, now: str) -> bool:
    """Texts in RFC 3339, all UTC and of this program's making, are compared as instants are."""
    ends = contract["ending_before"]
    return contract["archived_at"] is None and contract["starting_at"] <= now and (ends is None or now < ends)


ROUTES: list[Route] = [
    route("POST", "/v1/customers", create, "Create a customer"),
    route("GET", "/v1/customers", list_all, "List customers"),
    route("GET", "/v1/customers/{customer_id}", get, "Get a customer"),
    route("POST", "/v1/customers/archive", archive, "Archive a customer"),
    route("POST", "/v1/customers/{customer_id}/setIngestAliases", set_ingest_aliases, "Replace a customer's ingest aliases"),
    route("POST", "/v1/customers/{customer_id}/setName", set_name, "Rename a customer"),
    route("POST", "/v1/customers/{customer_id}/updateConfig", update_config, "Update a customer's configuration"),
    route("GET", "/v1/customers/{customer_id}/billable-metrics", list_metrics, "List the metrics of a customer"),
]
