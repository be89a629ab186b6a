"""The state machine's table, ladders, stored fields and the status reader."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from engine.alerts.ladder import Gauge, Ladder
from engine.alerts.states import TABLE, Input, Message, State, mermaid
from engine.alerts.status import read_status, split_by_alert
from engine.alerts.stored import StateKey, StateMeta, decode_meta, encode_meta, state_field, state_key, sub_key_text
from engine.catalog import Alert, AlertType
from engine.periods import Period

HOUR_US = 3_600_000_000


def alert(alert_id: str = "a", threshold: int = 10, **parts: object) -> Alert:
    return Alert(alert_id, AlertType.SPEND_THRESHOLD, alert_id, Decimal(threshold), 1, **parts)  # type: ignore[arg-type]


def test_reached_is_sent_only_on_the_way_into_in_alarm() -> None:
    for (state, _), (target, message) in TABLE.items():
        assert (message is Message.REACHED) == (target is State.IN_ALARM and state is not State.IN_ALARM)


def test_resolved_is_sent_only_for_what_was_told() -> None:
    for (state, _), (target, message) in TABLE.items():
        if message is Message.RESOLVED:
            assert state is State.IN_ALARM
            assert target is not State.IN_ALARM


def test_every_lasting_state_has_an_outcome_for_every_change() -> None:
    for state in (State.OK, State.IN_ALARM, State.HELD, State.LAPSED):
        for cause in (Input.ABOVE, Input.BELOW, Input.PERIOD_END, Input.FINAL, Input.DROP):
            assert (state, cause) in TABLE


def test_lapsed_never_speaks_again_and_ends_with_its_period() -> None:
    outcomes = {cause: outcome for (state, cause), outcome in TABLE.items() if state is State.LAPSED}
    assert all(outcome.message is None for outcome in outcomes.values())
    ends = {cause for cause, outcome in outcomes.items() if outcome.state is not State.LAPSED}
    assert ends == {Input.FINAL, Input.FINAL_OVERTAKEN}


def test_the_diagram_shows_every_change() -> None:
    drawn = mermaid()
    assert drawn.startswith("stateDiagram-v2\n")
    assert "ok --> in_alarm: value >= threshold / reached" in drawn
    changes = sum(state != outcome.state for (state, _), outcome in TABLE.items())
    assert drawn.count(" --> ") == changes + 2


@pytest.mark.parametrize(("value", "rungs"), [("4.99", 0), ("5", 1), ("9.99", 1), ("10", 3), ("11", 3), ("-1", 0)])
def test_a_rung_is_reached_exactly_at_its_threshold(value: str, rungs: int) -> None:
    ladder = Ladder([alert("c", 10), alert("b", 10), alert("a", 5)])
    assert [each.id for each in ladder.alerts] == ["a", "b", "c"]
    assert ladder.rungs_below(Decimal(value)) == rungs


def test_a_gauge_is_due_only_when_it_leaves_its_gap() -> None:
    due: list[Gauge] = []
    gauge = Gauge(Ladder([alert("a", 5), alert("b", 10)]), Period(0, 1), due)
    gauge.settle()
    gauge.shift(Decimal("4.99"), 1)
    assert due == []
    gauge.shift(Decimal("0.01"), 2)
    assert (due, gauge.before, gauge.value) == ([gauge], Decimal("4.99"), 5)
    assert (gauge.settle(), gauge.rung) == (0, 1)
    due.clear()
    gauge.shift(Decimal("4.99"), 3)
    assert due == []
    gauge.shift(Decimal("-4.99"), 4)
    assert due == [], "exactly at the threshold is in alarm still"
    gauge.shift(Decimal("-0.01"), 5)
    assert due == [gauge]


def test_the_value_before_an_event_is_that_before_all_of_its_metrics() -> None:
    gauge = Gauge(Ladder([alert("a", 5)]), Period(0, 1), [])
    gauge.shift(Decimal(3), 7)
    gauge.shift(Decimal(1), 8)
    gauge.shift(Decimal(1), 8)
    assert (gauge.before, gauge.value) == (3, 5)


def test_stored_fields_are_read_back() -> None:
    key = StateKey("id", Period(5, 9), sub_key_text(("a|b", "ü")))
    assert state_key(state_field(key)) == key
    meta = StateMeta(3, 4, 5, 6, Period(7, 8), {10, 9}, {"2026-01"}, 9, spans={"team": Period(7, 9)})
    assert decode_meta({"meta": encode_meta(meta)}) == meta
    assert decode_meta({}) == StateMeta()


STATE = {
    "meta": '{"cv":3,"cr":8,"now":0}',
    's|g|0-10|["eu"]': '["in_alarm","usage",100]',
    's|g|0-10|["us"]': '["held","creation",200]',
    's|g|0-10|["jp"]': '["lapsed","period_reset",900]',
    's|g|10-20|["jp"]': '["in_alarm","usage",950]',
    "s|gg|0-10|": '["in_alarm","usage",999]',
}
GROUPED = alert("g", group_values=(("region", None),))


@pytest.mark.parametrize(
    ("hour", "group", "status", "triggered_by", "changed"),
    [
        (5, None, "in_alarm", "creation", 200),
        (5, "eu", "in_alarm", "usage", 100),
        (5, "us", "in_alarm", "creation", 200),
        (5, "jp", "ok", None, None),
        (5, "fr", "ok", None, None),
        (10, None, "in_alarm", "usage", 950),
        (10, "eu", "ok", None, None),
        (25, None, "ok", None, None),
    ],
)
def test_status(hour: int, group: str | None, status: str, triggered_by: str | None, changed: int | None) -> None:
    wanted = None if group is None else (("region", group),)
    found = read_status(STATE, GROUPED, hour * HOUR_US, wanted)
    assert (found.status, found.triggered_by, found.changed_at_us) == (status, triggered_by, changed)


@pytest.mark.parametrize("state", [STATE, {}])
def test_the_parts_of_a_state_give_the_same_statuses(state: dict[str, str]) -> None:
    parts = split_by_alert(state)
    for each in (GROUPED, alert("gg"), alert("ggg")):
        part = {**parts[""], **parts.get(each.id, {})}
        assert len(part) <= 5
        for hour in (0, 5, 10, 25):
            assert read_status(part, each, hour * HOUR_US) == read_status(state, each, hour * HOUR_US)


def test_status_tells_the_version_evaluated_under() -> None:
    assert read_status(STATE, alert(), 0).evaluated_version == 8
    assert read_status(STATE, alert(customer_id="c"), 0).evaluated_version == 3
    assert read_status({}, alert(), 0).evaluated_version == 0


def test_an_archived_customer_keeps_its_last_status() -> None:
    frozen = {**STATE, "meta": encode_meta(StateMeta(3, 8, 0, frozen_at_us=5 * HOUR_US))}
    assert read_status(frozen, GROUPED, 99 * HOUR_US).status == "in_alarm"


def test_the_diagram_in_the_documentation_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    assert f"```mermaid\n{mermaid()}```" in text
