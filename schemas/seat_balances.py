"""What each seat has: the listing of seat balances, and manual entries by seat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from engine.balances.ledger import BalanceStatement
from engine.catalog import AccessType, BalanceType
from engine.numbers import ZERO, exact
from engine.periods import HOUR_US
from schemas.balances import ManualEntryBody
from schemas.common import Answer, Body, Cursor, Id, Instant, OutInstant, OutNumber, rfc3339
from schemas.documents import Document, instant_text, instant_us
from schemas.errors import BadRequest
from schemas.seats import SeatIds, seats_over_time

NO_CREDIT_TYPE = "00000000-0000-0000-0000-000000000000"
"""In the place of a credit type, for balances that are units of usage."""
DETAILS_MAX = 100
"""When commits and credits are listed, a page takes no further seat once it has so many of them."""


class SeatBalancesBody(Body):
    """Without dates: seats that are assigned now, and commits and credits that are open now. ``covering_date``: those of then.
    ``starting_at``, ``effective_before``: seats assigned, and commits and credits open, at any time between."""

    customer_id: Id
    contract_id: Id
    subscription_ids: Annotated[list[Id], Field(max_length=100)] = Field(default_factory=list)
    seat_ids: SeatIds = Field(default_factory=list)
    skip_missing_seat_ids: bool = False
    include_credits_and_commits: bool = False
    include_ledgers: bool = Field(default=False, description="Applies together with include_credits_and_commits.")
    covering_date: Instant | None = None
    starting_at: Instant | None = None
    effective_before: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Cursor | None = None

    @model_validator(mode="after")
    def _one_way(self) -> SeatBalancesBody:
        if self.covering_date is not None and (self.starting_at is not None or self.effective_before is not None):
            raise ValueError("covering_date cannot be used together with starting_at or effective_before")
        return self

    def holds(self, start_us: int, end_us: int | None, now_us: int) -> bool:
        """Whether what is there in [start, end) is wanted."""
        if self.starting_at is None and self.effective_before is None:
            at_us = now_us if self.covering_date is None else instant_us(rfc3339(self.covering_date))
            return start_us <= at_us and (end_us is None or at_us < end_us)
        return (self.starting_at is None or end_us is None or end_us > instant_us(rfc3339(self.starting_at))) and (
            self.effective_before is None or start_us <= instant_us(rfc3339(self.effective_before))
        )


class SeatBalanceAnswer(Answer):
    credit_type_id: str
    balance: OutNumber
    starting_balance: OutNumber
    access_type: str


class SeatLedgerEntry(Answer):
    type: str
    timestamp: OutInstant
    amount: OutNumber


class SeatShareAnswer(Answer):
    """One seat's share of a commit or credit, under the id of the whole."""

    id: str
    balance: OutNumber
    start_date: OutInstant
    end_date: OutInstant
    credit_type_id: str
    access_type: str
    ledger_entries: list[SeatLedgerEntry] | None = None


class SeatAnswer(Answer):
    seat_id: str
    balances: list[SeatBalanceAnswer]
    commits: list[SeatShareAnswer] | None = None
    credits: list[SeatShareAnswer] | None = None


class SeatsPagination(Answer):
    seats_included: int
    seats_available_for_next_page: int
    next_page: str | None = None


class SeatBalances(Answer):
    data: list[SeatAnswer]
    pagination: SeatsPagination


def seat_subscriptions(contract: Document, subscription_ids: Sequence[str]) -> list[Document]:
    """The contract's seat-based subscriptions, those chosen if any are. Raises BadRequest for an id that is none of them."""
    found = {each["id"]: each for each in contract.get("subscriptions") or () if each.get("seats") is not None}
    for index, subscription_id in enumerate(subscription_ids):
        if subscription_id not in found:
            raise BadRequest(f"subscription_ids[{index}]: the contract has no SEAT_BASED subscription {subscription_id}")
    return [found[each] for each in subscription_ids] if subscription_ids else list(found.values())


def wanted_seats(contract: Document, subscriptions: Iterable[Document], body: SeatBalancesBody, now_us: int) -> list[str]:
    """The seat ids, sorted. Raises BadRequest for one that was asked for and is not there."""
    seats = {
        seat_id
        for subscription in subscriptions
        for start_us, end_us, assigned in _spans(contract, subscription)
        if body.holds(start_us, end_us, now_us)
        for seat_id in assigned
    }
    if not body.seat_ids:
        return sorted(seats)
    missing = [seat_id for seat_id in body.seat_ids if seat_id not in seats]
    if missing and not body.skip_missing_seat_ids:
        raise BadRequest(f"seat_ids: there is no seat {missing[0]!r} in the contract's subscriptions")
    return sorted(seats.intersection(body.seat_ids))


def _spans(contract: Document, subscription: Document) -> Iterable[tuple[int, int | None, tuple[str, ...]]]:
    """(from, until, who has a seat), instants in microseconds."""
    parts = seats_over_time(subscription["seats"], subscription["starting_at"])
    starts = [instant_us(each.starting_at) for each in parts]
    ends = [instant_us(each) for each in (subscription["ending_before"], contract["ending_before"]) if each is not None]
    last = min(ends, default=None)
    for part, start_us, next_us in zip(parts, starts, [*starts[1:], None], strict=True):
        until = [each for each in (next_us, last) if each is not None]
        end_us = min(until, default=None)
        if end_us is None or start_us < end_us:
            yield start_us, end_us, part.assigned


def shares_by_seat(
    contract: Document,
    subscriptions: Iterable[Document],
    statements: Iterable[BalanceStatement],
    body: SeatBalancesBody,
    now_us: int,
) -> dict[str, list[BalanceStatement]]:
    """What each seat id has of the contract's recurring commits and credits that are linked to these subscriptions."""
    chosen = {each["id"] for each in subscriptions}
    linked = {
        each["id"]
        for each in contract.get("recurring") or ()
        if each["subscription_config"] is not None and each["subscription_config"]["subscription_id"] in chosen
    }
    found: dict[str, list[BalanceStatement]] = {}
    for each in statements:
        balance = each.balance
        if balance.seat is not None and balance.recurring_id in linked:
            start_us, end_us = _span_us(each)
            if body.holds(start_us, end_us, now_us):
                found.setdefault(balance.seat[1], []).append(each)
    return found


def _span_us(statement: BalanceStatement) -> tuple[int, int]:
    segments = statement.balance.segments
    start_hour, end_hour = min(each.starting_hour for each in segments), max(each.ending_hour for each in segments)
    return start_hour * HOUR_US, end_hour * HOUR_US


def seat_answer(seat_id: str, shares: Sequence[BalanceStatement], body: SeatBalancesBody) -> SeatAnswer:
    sums: dict[tuple[str, AccessType], tuple[Decimal, Decimal]] = {}
    for each in shares:
        unit = _credit_type(each), each.balance.access_type
        left, granted = sums.get(unit, (ZERO, ZERO))
        starting = sum((segment.amount for segment in each.balance.segments), ZERO)
        sums[unit] = left + each.remaining, granted + starting
    answer = SeatAnswer(
        seat_id=seat_id,
        balances=[
            SeatBalanceAnswer(credit_type_id=unit, balance=left, starting_balance=granted, access_type=access_type.value)
            for (unit, access_type), (left, granted) in sums.items()
        ],
    )
    if body.include_credits_and_commits:
        shown = [(each.balance.type, _share_answer(each, ledger=body.include_ledgers)) for each in shares]
        answer.commits = [row for kind, row in shown if kind is not BalanceType.CREDIT]
        answer.credits = [row for kind, row in shown if kind is BalanceType.CREDIT]
    return answer


def _credit_type(statement: BalanceStatement) -> str:
    balance = statement.balance
    return NO_CREDIT_TYPE if balance.access_type is AccessType.QUANTITY else balance.credit_type_id


def _share_answer(statement: BalanceStatement, *, ledger: bool) -> SeatShareAnswer:
    start_us, end_us = _span_us(statement)
    answer = SeatShareAnswer(
        id=statement.balance.share_of or statement.balance.id,
        balance=statement.remaining,
        start_date=instant_text(start_us),
        end_date=instant_text(end_us),
        credit_type_id=_credit_type(statement),
        access_type=statement.balance.access_type.value,
    )
    if ledger:
        answer.ledger_entries = [
            SeatLedgerEntry(type=each.type, timestamp=instant_text(each.timestamp_us), amount=each.amount)
            for each in statement.ledger
        ]
    return answer


def taken(seat_ids: Sequence[str], shares: Mapping[str, Sequence[BalanceStatement]], body: SeatBalancesBody) -> list[str]:
    """The seats of one page: the first ones, up to the limits."""
    chosen: list[str] = []
    listed = 0
    for seat_id in seat_ids[: body.limit]:
        if body.include_credits_and_commits and listed >= DETAILS_MAX:
            break
        chosen.append(seat_id)
        listed += len(shares.get(seat_id, ()))
    return chosen


def seat_amounts(balance: Document, body: ManualEntryBody) -> dict[str, Decimal]:
    """The amounts by seat of a manual entry; empty for a balance without seats. Raises BadRequest unless they fit."""
    amounts, shares = body.per_group_amounts, balance.get("shares")
    if shares is None:
        if amounts is not None:
            raise BadRequest("per_group_amounts: applies only to commits and credits with INDIVIDUAL allocation")
        return {}
    if amounts is None:
        raise BadRequest("per_group_amounts: is required, because each seat has a balance of its own")
    for seat_id in amounts:
        if seat_id not in shares or body.segment_id not in shares[seat_id]["segment_ids"]:
            raise BadRequest(f"per_group_amounts: the seat {seat_id!r} has nothing in the segment {body.segment_id}")
    with exact():
        if sum(amounts.values(), ZERO) != body.amount:
            raise BadRequest("per_group_amounts: must add up to the amount")
    return amounts
