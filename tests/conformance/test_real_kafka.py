"""Usage, statuses and events read back through the official SDK, on a real Apache Kafka."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.conformance.test_with_worker import test_usage_statuses_and_events, worker

__all__ = ["test_usage_statuses_and_events", "worker"]

pytestmark = pytest.mark.kafka


@dataclass(frozen=True)
class RealKafka:
    bootstrap_servers: str


@pytest.fixture(scope="session")
def mock_kafka(kafka: str) -> RealKafka:
    """Takes the place of the mock broker in this module."""
    return RealKafka(kafka)
