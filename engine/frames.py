"""Frames: what "the current billing period" means for a customer with any number of contracts.

    contract A   |────── Jan ──────|────── Feb ──────|
    contract B             |──────────── a year ─────────────...
    frames       |── F1 ───|─ F2 ──|────── F3 ───────|

At any instant there is a set of running contracts, each in one billing period; that set is the frame. It is constant between two
neighbouring boundaries of any contract. A frame's *span* is from the earliest start to the latest end of its billing periods; it
is the period that alert states belong to. With one contract the span is simply its billing period.
Before the first contract, and for customers that never have one, the frame's span is the UTC calendar month, cut where a contract
begins: usage alerts need no contract. After a contract's end, until another one begins, its last frame goes on with the span that
it had: nothing more is counted there, so the last status stays.

Live frames are those whose invoices are not final: the current one, those that ended within the grace period, and those ahead
that usage has already fallen in. Of live frames with the same span only one is evaluated: the current one, or else the newest of
those past.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.catalog import Contract
from engine.periods import HOUR_US, Period, calendar_month, period_at

NEVER_HOUR = 2**62 // HOUR_US
"""The end of a frame that nothing ends."""


class Frame(NamedTuple):
    """Current in hours [starting_hour, ending_hour)."""

    starting_hour: int
    ending_hour: int
    span: Period
    running: tuple[tuple[Contract, Period], ...]


def frame_at(contracts: Sequence[Contract], hour: int) -> Frame:
    """The frame that is current in an hour."""
    ended = max((contract.ending_hour or 0 for contract in contracts if _is_over(contract, hour)), default=0)
    if ended and not any(_runs(contract, hour) for contract in contracts):
        begins = min((contract.starting_hour for contract in contracts if contract.starting_hour > hour), default=NEVER_HOUR)
        return frame_at(contracts, ended - 1)._replace(ending_hour=begins)
    running: list[tuple[Contract, Period]] = []
    starts: list[int] = []
    ends: list[int] = []
    for contract in contracts:
        period = period_at(contract.schedule, contract.starting_hour, contract.ending_hour, hour)
        if period is not None:
            running.append((contract, period))
            starts.append(period.starting_hour)
            ends.append(period.ending_hour)
        elif hour < contract.starting_hour:
            ends.append(contract.starting_hour)
        elif contract.ending_hour is not None:
            starts.append(contract.ending_hour)  # the frame changed when it ended
    if running:
        span = Period(min(period.starting_hour for _, period in running), max(period.ending_hour for _, period in running))
    else:
        month = calendar_month(hour)
        starts.append(month.starting_hour)
        ends.append(month.ending_hour)
        span = Period(max(starts), min(ends))  # a contract's usage counts in its own periods, never in the month as well
    return Frame(max(starts), min(ends), span, tuple(running))


def _runs(contract: Contract, hour: int) -> bool:
    return contract.starting_hour <= hour and (contract.ending_hour is None or hour < contract.ending_hour)


def _is_over(contract: Contract, hour: int) -> bool:
    """It has ended by then, after it ran for an hour at least."""
    ending = contract.ending_hour
    return ending is not None and contract.starting_hour < ending <= hour


def past_frames(contracts: Sequence[Contract], current: Frame, now_hour: int, grace_hours: int) -> list[Frame]:
    """The frames before ``current`` that are not final yet, newest first. ``now_hour``: the hour that has begun."""
    frames: list[Frame] = []
    hour = current.starting_hour
    while hour + grace_hours > now_hour:
        frame = frame_at(contracts, hour - 1)
        frames.append(frame)
        hour = frame.starting_hour
    return frames


def frames_ahead(contracts: Sequence[Contract], current: Frame, hours: Sequence[int]) -> list[Frame]:
    """The frames after ``current`` that hold any of these hours, in order."""
    frames: list[Frame] = []
    last = current
    for hour in sorted(hours):
        if hour >= last.ending_hour:
            last = frame_at(contracts, hour)
            frames.append(last)
    return frames


def one_for_each_span(current: Frame, past: Sequence[Frame], ahead: Sequence[Frame]) -> list[Frame]:
    """The frames to evaluate, the current one first."""
    chosen: dict[Period, Frame] = {current.span: current}
    for frame in (*past, *ahead):
        chosen.setdefault(frame.span, frame)
    return list(chosen.values())
