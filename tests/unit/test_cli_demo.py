"""The demo's own parts: reading a trace, recomputing what must arrive, and its verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from connectors.cli.demo.expected import Crossing, Rule, recompute, rules_for, spend_cents
from connectors.cli.demo.receiver import Received, Receiver
from connectors.cli.demo.report import Arrival, arrivals, percentile, show_verdict
from connectors.cli.demo.scenario import Scenario
from connectors.cli.demo.workload import Call, generate, read_trace
from connectors.cli.errors import Fault

NOW = datetime(2026, 3, 3, 12, 30, tzinfo=UTC)
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def trace(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return path


def test_a_trace_is_shifted_and_assigned_to_customers_by_row_number(tmp_path: Path) -> None:
    rows = "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n2023-11-16 18:17:05,110,27\n"
    calls = read_trace(trace(tmp_path, HEADER + rows), customers=2, until=NOW)
    assert [call.customer for call in calls] == [0, 1, 0]
    assert [call.transaction_id for call in calls] == ["row-0", "row-1", "row-2"]
    assert [(call.input_tokens, call.output_tokens) for call in calls] == [(4808, 10), (3180, 8), (110, 27)]
    assert calls[-1].at == NOW
    assert calls[-1].at - calls[0].at == timedelta(microseconds=1_020_040)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the columns must be TIMESTAMP, ContextTokens, GeneratedTokens"),
        ("when,in,out\n", "line 1: the columns must be"),
        (HEADER, "has no rows"),
        (HEADER + "2023-11-16 18:17:03,1,2\nyesterday,1,2\n", "line 3: TIMESTAMP must be a date and a time"),
        (HEADER + "2023-11-16 18:17:03,1\n", "line 2: 3 columns are needed, 2 are there"),
        (HEADER + "2023-11-16 18:17:03,-1,2\n", "line 2: ContextTokens must be a whole number of tokens"),
        (HEADER + "2023-11-16 18:17:03,1,2.5\n", "line 2: GeneratedTokens must be a whole number of tokens"),
        (HEADER + "2023-01-01 00:00:00,1,2\n2023-03-01 00:00:00,1,2\n", "spans 59 days"),
    ],
)
def test_a_bad_trace_is_refused_naming_line_and_rule(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Fault) as fault:
        read_trace(trace(tmp_path, text), customers=2, until=NOW)
    assert words in fault.value.message
    assert "\n" not in fault.value.message


def test_a_missing_trace_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="cannot be read"):
        read_trace(tmp_path / "none.csv", customers=2, until=NOW)


def test_the_same_seed_gives_the_same_calls() -> None:
    assert generate(200, 5, 7, NOW) == generate(200, 5, 7, NOW)
    assert generate(200, 5, 7, NOW) != generate(200, 5, 8, NOW)


def call(number: int, input_tokens: int, output_tokens: int = 0, model: str = "small", customer: int = 0) -> Call:
    return Call(f"t{number}", customer, model, NOW, input_tokens, output_tokens)


def test_input_tokens_are_cheaper_beyond_the_first_tier() -> None:
    assert spend_cents(200_000, 0) == Decimal(60)
    assert spend_cents(300_000, 0) == Decimal(84)
    assert spend_cents(300_000, 1000) == Decimal("85.5")


def test_a_threshold_that_is_met_exactly_is_crossed() -> None:
    rules = [Rule("line", "spend", 60)]
    calls = [call(1, 199_999), call(2, 1), call(3, 1)]
    assert recompute(calls, rules) == {Crossing("line", 0, None, "t2", Decimal(60))}


def test_grouped_spend_is_rated_for_each_model_alone() -> None:
    """Together both models are beyond the first tier; each alone is not."""
    rules = [Rule("by model", "spend by model", 45)]
    calls = [call(1, 149_999), call(2, 150_000, model="large"), call(3, 1)]
    assert recompute(calls, rules) == {
        Crossing("by model", 0, "large", "t2", Decimal(45)),
        Crossing("by model", 0, "small", "t3", Decimal(45)),
    }


def test_an_own_rule_looks_at_its_customer_only() -> None:
    rules = [Rule("own", "output tokens", 5, customer=1)]
    assert recompute([call(1, 0, 9), call(2, 0, 6, customer=1)], rules) == {Crossing("own", 1, None, "t2", Decimal(6))}


def test_the_default_workload_has_something_to_show() -> None:
    calls = generate(4000, 12, 1, NOW)
    rules = rules_for(calls, 12)
    crossed = {crossing.rule for crossing in recompute(calls, rules)}
    assert crossed == {rule.name for rule in rules}
    assert len({rule.name for rule in rules}) == len(rules)


def test_percentiles_are_nearest_ranks() -> None:
    assert [percentile(list(range(1, 101)), percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7.0], 50) == 7.0


EXPECTED = {Crossing("line", 0, None, "t2", Decimal(60))}
ARRIVED = Arrival(Crossing("line", 0, None, "t2", Decimal("60.000")), 3.5)


@pytest.mark.parametrize(
    ("found", "invalid", "right"),
    [
        ([ARRIVED], [], True),
        ([], [], False),
        ([ARRIVED, ARRIVED], [], False),
        ([Arrival(Crossing("line", 0, None, "t3", Decimal(60)), 3.5)], [], False),
        ([Arrival(Crossing("line", 0, None, "t2", Decimal(61)), 3.5)], [], False),
        ([ARRIVED, Arrival(Crossing("other", 0, None, "t2", Decimal(60)), 3.5)], [], False),
        ([ARRIVED], ["a signature does not match"], False),
    ],
    ids=["as expected", "missing", "second id", "other event", "other value", "extra", "bad signature"],
)
def test_the_verdict(found: list[Arrival], invalid: list[str], right: bool) -> None:
    console = Console(file=StringIO())
    assert show_verdict(console, found, EXPECTED, Receiver(invalid=invalid)) is right


def test_a_webhook_becomes_the_crossing_that_it_tells_of() -> None:
    scenario = Scenario(["c-0", "c-1"], {"a-1": Rule("by model", "spend by model", 45)}, "whsec_")
    properties = {
        "alert_id": "a-1",
        "customer_id": "c-1",
        "value": Decimal("45.5"),
        "group_values": [{"key": "model", "value": "large"}],
        "evidence": {"transaction_id": "t9"},
    }
    receiver = Receiver(received={"n-1": Received(100.25, "alerts.spend_threshold_reached", properties)})
    [arrival] = arrivals(receiver, scenario, {"t9": 100.0})
    assert arrival == Arrival(Crossing("by model", 1, "large", "t9", Decimal("45.5")), 250.0)
    resolved = Receiver(received={"n-2": Received(100.25, "alerts.spend_threshold_resolved", properties)})
    assert arrivals(resolved, scenario, {})[0].crossing.rule == "alerts.spend_threshold_resolved"
