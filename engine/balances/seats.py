"""Seats: who has one when, and how balances of single seats are kept apart from the rest.

A *seat* is a pair (seat group key, seat id). A balance of a seat pays only lines of usage that have this value under that key
among their pricing or presentation group values, so the key must be among the keys of the product (and then of its metric): the
rule of the API that we follow. In the order of draw-down it stands by the ordinary list, where its seat counts as one more
group-value specifier; so of two that are equal so far, the seat's own balance pays before one that is open to everything.

A seat's balances are no part of any other balance: not of the alerts on balances, percentages and days, not of the net balance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from engine.balances.matching import Precedence, precedence
from engine.catalog import AccessType, Balance, Contract, Product, Subscription
from engine.frames import NEVER_HOUR


class Assigned(NamedTuple):
    """A seat id is assigned in the hours [starting_hour, ending_hour); NEVER_HOUR = until further notice."""

    seat_id: str
    starting_hour: int
    ending_hour: int


def assigned_spans(subscription: Subscription, contract: Contract) -> Iterator[Assigned]:
    """When each seat id has a seat of the subscription, by the start, then by the id; empty spans are left out. A
    subscription ends with its contract at the latest, and all of its seats with it."""
    end = min(hour for hour in (subscription.ending_hour, contract.ending_hour, NEVER_HOUR) if hour is not None)
    since: dict[str, int] = {}
    spans: list[Assigned] = []
    for hour, seat_id, assigned in subscription.seat_steps:
        if assigned:
            since.setdefault(seat_id, hour)
        elif seat_id in since:
            spans.append(Assigned(seat_id, since.pop(seat_id), min(hour, end)))
    spans.extend(Assigned(seat_id, hour, end) for seat_id, hour in since.items())
    yield from sorted(
        (span for span in spans if span.starting_hour < span.ending_hour), key=lambda span: (span.starting_hour, span.seat_id)
    )


def seats_at(contracts: Iterable[Contract], seat_group_key: str, hour: int) -> frozenset[str]:
    """The seat ids that are assigned in an hour, over all subscriptions with that key."""
    return frozenset(
        span.seat_id
        for contract in contracts
        for subscription in contract.subscriptions
        if subscription.seat_group_key == seat_group_key
        for span in assigned_spans(subscription, contract)
        if span.starting_hour <= hour < span.ending_hour
    )


def seat_changes(contracts: Iterable[Contract], seat_group_key: str) -> frozenset[int]:
    """The hours at which a seat is assigned or removed."""
    return frozenset(
        hour
        for contract in contracts
        for subscription in contract.subscriptions
        if subscription.seat_group_key == seat_group_key
        for span in assigned_spans(subscription, contract)
        for hour in (span.starting_hour, span.ending_hour)
        if hour < NEVER_HOUR
    )


def drawn_apart(balances: Iterable[Balance], products: Mapping[str, Product]) -> frozenset[str]:
    """The credit types in which what a seat's balances pay depends on that seat's own usage alone.

    It does if no other balance can pay any of it before they do, and if seats are told apart by one key only: usage that has
    two seats may otherwise move from the balance of one to that of the other. What it says may be too little, never too much:
    balances are compared whether they can meet on a line or not, and where units of usage are drawn nothing is apart."""
    live = [balance for balance in balances if not balance.archived]
    seated = [balance for balance in live if balance.seat is not None]
    one_key = len({balance.seat[0] for balance in seated if balance.seat is not None}) == 1
    if not one_key or any(balance.access_type is AccessType.QUANTITY for balance in live):
        return frozenset()
    last: dict[str, Precedence] = {}
    for credit_type, order in _orders(seated, products):
        last[credit_type] = max(order, last.get(credit_type, order))
    for credit_type, order in _orders((balance for balance in live if balance.seat is None), products):
        if credit_type in last and order < last[credit_type]:
            del last[credit_type]
    return frozenset(last)


def _orders(balances: Iterable[Balance], products: Mapping[str, Product]) -> Iterator[tuple[str, Precedence]]:
    for balance in balances:
        for segment in balance.segments:
            yield balance.credit_type_id, precedence(balance, segment, products)
