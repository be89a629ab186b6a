"""/v1/contracts: seats of subscriptions, what each has left, and how they and the quantity have changed"""

from __future__ import annotations

from decimal import Decimal

from connectors.http.accounts import read_account
from connectors.http.contracts import contract_in
from connectors.http.editing import get_customer, read_catalog
from connectors.http.pages import decode_cursor, encode_cursor
from connectors.http.routing import Call, Route, route
from engine.catalog import USD_CENTS
from engine.compiled import CompiledCatalog
from engine.periods import HOUR_US
from schemas.common import Data, NoQuery
from schemas.documents import Document, contract_of, load_catalog
from schemas.errors import BadRequest, NotFound
from schemas.recurring_documents import subscription_of
from schemas.seat_balances import (
    SeatBalances,
    SeatBalancesBody,
    SeatsPagination,
    seat_answer,
    seat_subscriptions,
    shares_by_seat,
    taken,
    wanted_seats,
)
from schemas.seat_history import (
    ENTRIES_MAX,
    QuantityHistory,
    QuantityHistoryBody,
    SeatsHistory,
    SeatsHistoryBody,
    quantity_entries,
    seats_entries,
)


def _subscription_in(contract: Document, subscription_id: str) -> Document:
    for subscription in contract.get("subscriptions") or ():
        if subscription["id"] == subscription_id:
            found: Document = subscription
            return found
    raise NotFound(f"the contract has no subscription {subscription_id}")


async def list_balances(call: Call[SeatBalancesBody, NoQuery]) -> SeatBalances:
    """By seat id. A page ends early where so many commits and credits are listed."""
    body = call.body
    customer = await get_customer(call.services, body.customer_id)
    contract = contract_in(customer, body.contract_id)
    subscriptions = seat_subscriptions(contract, body.subscription_ids)
    seats = wanted_seats(contract, subscriptions, body, call.now_us)
    after = decode_cursor(body.cursor, (str,), "cursor")
    if after is not None:
        seats = [seat_id for seat_id in seats if seat_id > str(after[0])]
    account = await read_account(call.services, customer, call.now_us)
    shares = shares_by_seat(contract, subscriptions, account.statement.balances, body, call.now_us)
    shown = taken(seats, shares, body)
    left = len(seats) - len(shown)
    return SeatBalances(
        data=[seat_answer(seat_id, shares.get(seat_id, ()), body) for seat_id in shown],
        pagination=SeatsPagination(
            seats_included=len(shown),
            seats_available_for_next_page=min(left, body.limit),
            next_page=encode_cursor(shown[-1]) if left else None,
        ),
    )


async def seats_history(call: Call[SeatsHistoryBody, NoQuery]) -> SeatsHistory:
    body = call.body
    contract = contract_in(await get_customer(call.services, body.customer_id), body.contract_id)
    subscription = _subscription_in(contract, body.subscription_id)
    if subscription.get("seats") is None:
        raise BadRequest(f"subscription_id: the subscription {body.subscription_id} is not SEAT_BASED")
    entries = seats_entries(subscription, contract, body)
    after = decode_cursor(body.cursor, (str,), "cursor")
    if after is not None:
        entries = [each for each in entries if each.starting_at > str(after[0])]
    shown = entries[: body.limit or ENTRIES_MAX]
    more = len(entries) > len(shown)
    return SeatsHistory(data=shown, next_page=encode_cursor(shown[-1].starting_at) if more else None)


async def quantity_history(call: Call[QuantityHistoryBody, NoQuery]) -> Data[QuantityHistory]:
    """Up to now; what is scheduled is on the contract."""
    body = call.body
    contract = contract_in(await get_customer(call.services, body.customer_id), body.contract_id)
    document = _subscription_in(contract, body.subscription_id)
    read = await read_catalog(call.services)
    catalog = load_catalog(read.revision, read.parts)
    compiled, config, subscription = CompiledCatalog(catalog), contract_of(contract), subscription_of(document)
    product, frequency = catalog.products[subscription.product_id], subscription.billing.frequency
    changes = compiled.hours_of_change(config.rate_card_id) | {
        hour for each in config.overrides for hour in (each.starting_hour, each.ending_hour) if hour is not None
    }

    def price_at(at_us: int) -> Decimal:
        rate = compiled.fee(config, product, frequency, at_us // HOUR_US)
        return Decimal(0) if rate is None else rate.price

    history = quantity_entries(document, price_at, {hour * HOUR_US for hour in changes}, call.now_us)
    return Data(
        data=QuantityHistory(subscription_id=document["id"], fiat_credit_type_id=USD_CENTS, history=history),
    )


ROUTES: list[Route] = [
    route("POST", "/v1/contracts/seatBalances/list", list_balances, "What each seat of a contract has left"),
    route("POST", "/v1/contracts/getSubscriptionSeatsHistory", seats_history, "How a subscription's seats have changed"),
    route("POST", "/v1/contracts/getSubscriptionQuantityHistory", quantity_history, "How a subscription's quantity has changed"),
]
