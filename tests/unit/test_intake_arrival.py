"""When an event counts as appended: by the topic's stamp, by a credible one of the producer, or by the worker's clock."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from connectors.kafka.intake import Intake
from connectors.settings import Settings

pytestmark = pytest.mark.usefixtures("unshifted")

NOW_MS = 1_770_000_000_000
HOUR_MS = 3_600_000
CREATE, APPEND = 0, 1
EVENT = b'{"transaction_id":"t","customer_id":"c","event_type":"e","timestamp":"2026-02-02T00:00:00Z"}'


@dataclass
class Fetched:
    timestamp: int
    timestamp_type: int
    topic: str = "usage-events"
    partition: int = 0
    offset: int = 7
    key: bytes | None = None
    value: bytes | None = EVENT
    headers: tuple[tuple[str, bytes], ...] = ()


@pytest.mark.parametrize(
    ("stamp", "kind", "appended"),
    [
        (NOW_MS - 5 * HOUR_MS, APPEND, NOW_MS - 5 * HOUR_MS),  # the topic's word, whatever it is
        (NOW_MS - 40, CREATE, NOW_MS - 40),
        (NOW_MS - HOUR_MS, CREATE, NOW_MS - HOUR_MS),
        (NOW_MS - HOUR_MS - 1, CREATE, NOW_MS),
        (NOW_MS + 1, CREATE, NOW_MS),
        (-1, CREATE, NOW_MS),  # none
    ],
)
def test_time_of_the_append(stamp: int, kind: int, appended: int) -> None:
    [arrived], rejected = Intake(Settings(), 0, 1).decode([Fetched(stamp, kind)], NOW_MS)
    assert not rejected
    assert arrived.appended_at_ms == appended


def test_an_event_that_waited_in_the_log_for_long_is_as_young_as_when_it_was_appended() -> None:
    intake = Intake(Settings(), 0, 1)
    intake.learn({"c": "c"})
    an_hour_later = 1_769_990_400_000 + HOUR_MS  # the event is of 2026-02-02T00:00Z; whenever it is read
    arrived, _ = intake.decode([Fetched(an_hour_later, APPEND)], an_hour_later + 200 * 24 * HOUR_MS)
    plan = intake.classify(arrived)
    assert (plan.here, plan.rejected) == (arrived, [])
