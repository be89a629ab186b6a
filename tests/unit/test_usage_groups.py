"""Group values in usage queries: every group has a name of its own, and can be asked for by it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.catalog import Aggregation, BillableMetric
from engine.metering.codec import decode_day
from engine.metering.matching import GROUP_VALUE_CHARACTERS_MAX
from engine.metering.queries import UsageWindows
from engine.metering.series import SeriesKey, series_field
from engine.numbers import exact
from schemas.usage import GroupBy, UsageGroups, group_name, group_rows, usage_rows

METRIC = BillableMetric(id="m", name="calls", aggregation=Aggregation.COUNT, group_keys=(("model",),))
COUNTS: dict[str | None, int] = {"eu": 24, "": 2, "null": 1, '"null"': 1, None: 1, "nu": 1, "x" * GROUP_VALUE_CHARACTERS_MAX: 1}
DAY = 20_000
SPAN = (DAY * 24, DAY * 24 + 24)


def _usage() -> UsageWindows:
    fields = {series_field(SeriesKey("m", 0, (value,))): f"3:{count}" for value, count in COUNTS.items()}
    return UsageWindows({DAY: decode_day({**fields, "m": f"3:{sum(COUNTS.values())}"})})


def _groups(group_by: dict[str, Any]) -> dict[str, int | None]:
    with exact():
        (row,) = usage_rows("c", METRIC, [SPAN], _usage(), GroupBy.model_validate(group_by))
    assert row.groups is not None
    return {name: None if value is None else int(value) for name, value in row.groups.items()}


def test_no_two_groups_share_a_name() -> None:
    found = _groups({"key": "model"})
    assert sum(value or 0 for value in found.values()) == sum(COUNTS.values()) == 31
    assert found == {group_name(value): count for value, count in COUNTS.items()}
    assert (found["null"], found['"null"'], found[""]) == (1, 1, 2)
    assert len(found) == len(COUNTS)


@pytest.mark.parametrize("value", list(COUNTS))
def test_every_group_can_be_asked_for(value: str | None) -> None:
    assert _groups({"key": "model", "values": [value]}) == {group_name(value): COUNTS[value]}
    body = UsageGroups.model_validate(
        {
            "customer_id": "8deed800-1b7a-495d-a207-6c52bac54dc9",
            "billable_metric_id": "8deed800-1b7a-495d-a207-6c52bac54dc9",
            "window_size": "NONE",
            "current_period": True,
            "group_key": ["model"],
            "group_filters": {"model": [value]},
        }
    )
    with exact():
        (row,) = group_rows(METRIC, body, [SPAN], _usage())
    assert (row.group_value, row.group, row.value) == (value, {} if value is None else {"model": value}, COUNTS[value])
