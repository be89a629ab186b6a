"""The state machine of one alert for one customer, sub-key and period, as a table.

Theory. A threshold alert is in alarm exactly while ``value >= threshold``. What has to be remembered beside that is only what
was told to whom: so there are two states in which the line is crossed and something else than "told" holds.

    evaluating  the alert is new to the customer; never stored, derived from versions
    ok          below the line; never stored, the absence of a record
    in_alarm    past the line, and notified
    held        past the line when it was met first, and `evaluate_on_create` is false: nothing was sent; recovery re-arms
    lapsed      its period is over and was reset: nothing is ever sent for this period again

The period is part of the key, so a new period begins at ok with its own value; nothing is carried over. When a period ends,
its alarms are resolved ("period_reset") and lapse. While the grace period runs, an alert that was still ok in the old period can
be raised by a late event; the end of grace resolves that one too, and then all states of the period are forgotten.
An alarm that the current period has *overtaken*, being in alarm itself, ends without a word: "resolved" would tell a receiver
that all is well while it is not. (That takes late usage of the old period, or usage dated ahead.)

With several contracts a state can live on while the period of one of them ends (engine.calendars). Then the key goes with it.
What ended has a state of its own beside it, for late usage: past its line *too late*, or below it *overtaken*, where an alarm of
the same life was told already.

An input is what was found out; a row says what becomes of the state and what is sent. A pair that is not in the table
cannot happen, and raises KeyError.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    EVALUATING = "evaluating"
    OK = "ok"
    IN_ALARM = "in_alarm"
    HELD = "held"
    LAPSED = "lapsed"


class Input(StrEnum):
    ABOVE = "value >= threshold"
    BELOW = "value < threshold"
    ABOVE_QUIETLY = "value >= threshold, not to be told"
    ABOVE_TOO_LATE = "value >= threshold in a period that is over"
    PERIOD_END = "period ends"
    PERIOD_END_OVERTAKEN = "period ends, the next one is in alarm already"
    FINAL = "grace ends"
    FINAL_OVERTAKEN = "grace ends, the current period is in alarm"
    DROP = "reset"
    BELOW_OVERTAKEN = "value < threshold in a period that is over, while its life is in alarm"


class Message(StrEnum):
    REACHED = "reached"
    RESOLVED = "resolved"


class Outcome(NamedTuple):
    state: State
    message: Message | None = None


TABLE: dict[tuple[State, Input], Outcome] = {
    (State.EVALUATING, Input.ABOVE): Outcome(State.IN_ALARM, Message.REACHED),
    (State.EVALUATING, Input.BELOW): Outcome(State.OK),
    (State.EVALUATING, Input.ABOVE_QUIETLY): Outcome(State.HELD),
    (State.EVALUATING, Input.ABOVE_TOO_LATE): Outcome(State.LAPSED),
    (State.OK, Input.ABOVE): Outcome(State.IN_ALARM, Message.REACHED),
    (State.OK, Input.BELOW): Outcome(State.OK),
    (State.OK, Input.ABOVE_TOO_LATE): Outcome(State.LAPSED),
    (State.OK, Input.PERIOD_END): Outcome(State.OK),
    (State.OK, Input.PERIOD_END_OVERTAKEN): Outcome(State.OK),
    (State.OK, Input.FINAL): Outcome(State.OK),
    (State.OK, Input.FINAL_OVERTAKEN): Outcome(State.OK),
    (State.OK, Input.DROP): Outcome(State.OK),
    (State.IN_ALARM, Input.ABOVE): Outcome(State.IN_ALARM),
    (State.IN_ALARM, Input.BELOW): Outcome(State.OK, Message.RESOLVED),
    (State.IN_ALARM, Input.BELOW_OVERTAKEN): Outcome(State.OK),
    (State.IN_ALARM, Input.PERIOD_END): Outcome(State.LAPSED, Message.RESOLVED),
    (State.IN_ALARM, Input.PERIOD_END_OVERTAKEN): Outcome(State.LAPSED),
    (State.IN_ALARM, Input.FINAL): Outcome(State.OK, Message.RESOLVED),
    (State.IN_ALARM, Input.FINAL_OVERTAKEN): Outcome(State.OK),
    (State.IN_ALARM, Input.DROP): Outcome(State.OK),
    (State.HELD, Input.ABOVE): Outcome(State.HELD),
    (State.HELD, Input.BELOW): Outcome(State.OK),
    (State.HELD, Input.PERIOD_END): Outcome(State.HELD),
    (State.HELD, Input.PERIOD_END_OVERTAKEN): Outcome(State.HELD),
    (State.HELD, Input.FINAL): Outcome(State.OK),
    (State.HELD, Input.FINAL_OVERTAKEN): Outcome(State.OK),
    (State.HELD, Input.DROP): Outcome(State.OK),
    (State.LAPSED, Input.ABOVE): Outcome(State.LAPSED),
    (State.LAPSED, Input.BELOW): Outcome(State.LAPSED),
    (State.LAPSED, Input.PERIOD_END): Outcome(State.LAPSED),
    (State.LAPSED, Input.PERIOD_END_OVERTAKEN): Outcome(State.LAPSED),
    (State.LAPSED, Input.FINAL): Outcome(State.OK),
    (State.LAPSED, Input.FINAL_OVERTAKEN): Outcome(State.OK),
    (State.LAPSED, Input.DROP): Outcome(State.LAPSED),
}


def mermaid() -> str:
    """The table as a Mermaid state diagram, for the documentation. Rows that change nothing are left out."""
    lines = ["stateDiagram-v2", "    [*] --> evaluating", "    [*] --> ok: a new period"]
    for (state, cause), (target, message) in TABLE.items():
        if state != target:
            said = f" / {message}" if message else ""
            lines.append(f"    {state} --> {target}: {cause}{said}")
    return "\n".join(lines) + "\n"
