"""What depends on the present, through the official SDK with a worker, at the instants where rules about periods change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.conftest import PARTITIONS
from tests.conformance.test_alert_filters import test_evaluating_ends_for_everyone
from tests.conformance.test_api_ingest import tail, test_events_near_the_limits_of_time_are_taken
from tests.conformance.test_overrides_with_worker import test_a_contracts_own_prices_are_rated_at_once
from tests.conformance.test_with_worker import test_balance_segment_and_invoice_alerts, test_usage_statuses_and_events, worker
from tests.support.instants import INSTANTS, living_at
from tests.support.mock_kafka import MockKafka

__all__ = [
    "tail",
    "test_a_contracts_own_prices_are_rated_at_once",
    "test_balance_segment_and_invoice_alerts",
    "test_evaluating_ends_for_everyone",
    "test_events_near_the_limits_of_time_are_taken",
    "test_usage_statuses_and_events",
    "worker",
]


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    """A log of each test's own: those of another instant hold events of the same ids."""
    with MockKafka({"usage-events": PARTITIONS, "usage-events.dead-letters": 1}) as mock:
        yield mock


@pytest.fixture(autouse=True, params=INSTANTS)
def _instant(request: pytest.FixtureRequest) -> Iterator[None]:
    with living_at(request.param):
        yield
