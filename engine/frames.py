"""Frames: what "the current billing period" means for a customer with any number of contracts.

    contract A   |────── Jan ──────|────── Feb ──────|
    contract B             |──────────── a year ─────────────...
    frames       |── F1 ───|─ F2 ──|────── F3 ───────|

At any instant there is a set of running contracts, each in one billing period (its *part*); that set is the frame. It is constant
between two neighbouring boundaries of any contract. A frame's *span* is from the earliest start to the latest end of its parts;
with one contract it is simply its billing period.
Before the first contract, and for customers that never have one, the frame's span is the UTC calendar month, cut where a contract
begins: usage alerts need no contract. After a contract's end, until another one begins, its last frame goes on with the span that
it had: nothing more is counted there, so the last status stays.
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

    def parts(self) -> set[tuple[str, Period]]:
        return {(contract.id, period) for contract, period in self.running}

    def goes_on_in(self, later: Frame) -> bool:
        """Whether a part of it runs on in the frame right after it."""
        return not self.parts().isdisjoint(later.parts())

    def has_ended_by(self, later: Frame) -> bool:
        """Whether a part of it is over in the frame right after it."""
        return not self.parts() <= later.parts() if self.running else self.span != later.span

    def closed(self) -> Frame:
        """The frame as it is measured once it is over: nothing counts that is dated after its end."""
        end = min(self.ending_hour, self.span.ending_hour)
        running = tuple(
            (contract, Period(period.starting_hour, min(period.ending_hour, end))) for contract, period in self.running
        )
        return self._replace(span=Period(self.span.starting_hour, end), running=running)


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
    later = current
    while later.starting_hour + grace_hours > now_hour:
        frame = frame_at(contracts, later.starting_hour - 1)
        if frame.span.ending_hour + grace_hours <= now_hour:
            break  # nothing ran for so long between its last contract's end and the next one's start
        frames.append(frame)
        later = frame
    return frames
