"""Calendars: what alerts on spend and usage measure at a time, where a customer has any number of contracts.

    contract A   |────── Jan ──────|────── Feb ──────|
    contract B             |──────────── a year ─────────────...
                           now: A's Feb + B's year
    closed picture         A's Jan + B's year up to the end of Jan, while the grace period of Jan runs

*What is measured* is the current frame: each running contract's own billing period, added up. When one contract's period ends,
its part begins again at nothing and the others stay.
*A life* is a run of frames of which each has a part of the one before it. An alert's state lives as long: a boundary of one
contract changes its sum, and only where no part goes on does a new state begin, at ok. With one contract each billing period is a
life.
*A closed picture* is a frame in which a part ended, cut at its end: late usage of that part is measured there, and never added to
what runs. The last one of a life is the billing period as it ended, whose state goes on through the grace period. The others
(its *siblings*) are beside a state that lives on, see ``engine.evaluation``.
*Ahead*, where usage is dated in a life that has not begun, that life's first frame is measured too. What is dated in a later part
of the current life counts when that part begins.

The frames of an alert that is about some contracts only are those of these contracts (its *scope*).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.alerts.kinds import contract_has
from engine.alerts.watch import Scope
from engine.catalog import Contract
from engine.frames import NEVER_HOUR, Frame, frame_at, past_frames
from engine.periods import Period


class Calendar:
    """Of one scope at one hour.

    ``closed``: the last contract has ended, and its grace period too: nothing is evaluated until another one begins.
    ``frames``: those to evaluate, by the period that states belong to: the current one first, then the closed pictures, newest
    first, then those ahead. ``siblings``: of a period, the other periods of its life, where there are any; newest first.
    ``past``, ``ahead``: the frames that are not final yet, and those ahead that usage falls in, evaluated or not.
    ``boundary_hour``: when the current frame or a grace period ends."""

    __slots__ = ("_contracts", "_known", "ahead", "boundary_hour", "closed", "current", "frames", "past", "siblings")

    def __init__(self, contracts: Sequence[Contract], now_hour: int, grace_hours: int, *, last_look: bool = False) -> None:
        """``last_look``: to evaluate the last frame once, even if nothing is to be evaluated any more."""
        self._contracts = contracts
        self.current = current = frame_at(contracts, now_hour)
        self.past = past_frames(contracts, current, now_hour, grace_hours)
        self.ahead: list[Frame] = []
        self._known = [(0, current.ending_hour)]
        over_hour = current.span.ending_hour if current.ending_hour > current.span.ending_hour else NEVER_HOUR
        self.closed = over_hour + grace_hours <= now_hour and not last_look
        ends = [min(frame.ending_hour, frame.span.ending_hour) for frame in self.past]
        self.frames: dict[Period, Frame] = {}
        self.siblings: dict[Period, tuple[Period, ...]] = {}
        if not self.closed:
            ends.append(over_hour)
            self._picture()
        self.boundary_hour = min(current.ending_hour, *(hour + grace_hours for hour in ends), NEVER_HOUR)

    def _picture(self) -> None:
        """Which frames are evaluated, and which of them are of one life."""
        later = self.current
        self.frames[later.span] = later
        lives = [[later.span]]
        for frame in self.past:
            if not frame.goes_on_in(later):
                lives.append([])
            if frame.has_ended_by(later):
                picture = frame.closed()
                self.frames[picture.span] = picture
                lives[-1].append(picture.span)
            later = frame
        for life in lives:
            for period in life if len(life) > 1 else ():
                self.siblings[period] = tuple(other for other in life if other != period)

    def head(self, period: Period) -> Period:
        """The newest period of a period's life: the one that runs, or that ran last."""
        return max((period, *self.siblings.get(period, ())), key=lambda each: each.ending_hour)

    def look_ahead(self, hours: Iterable[int]) -> None:
        """Takes in the frames ahead in which there is usage."""
        left = sorted(hour for hour in hours if hour >= self.current.ending_hour)
        frame = self.current
        while left and left[-1] >= frame.ending_hour:
            following = frame_at(self._contracts, frame.ending_hour)
            if any(frame.ending_hour <= hour < following.ending_hour for hour in left):
                self.ahead.append(following)
                self._known.append((frame.ending_hour, following.ending_hour))
            begins = following.span != frame.span and not frame.goes_on_in(following)
            if begins and not self.closed and any(hour in range(*following.span) for hour in left):
                self.frames[following.span] = following
            frame = following

    def knows(self, hour: int) -> bool:
        """Whether the hour's frame is taken in; false for one ahead that has had no usage yet."""
        return any(start <= hour < end for start, end in self._known)


def covered(contracts: Sequence[Contract], scope: Scope) -> Sequence[Contract]:
    """The contracts that a scope is about; all of them if it is about none: nothing is spent then, in whatever period."""
    return tuple(contract for contract in contracts if contract_has(contract, scope)) or contracts
