"""The table of alert types, on a real Apache Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.test_alert_table import ENVIRONMENT, table, test_every_type_with_every_filter
from tests.support.redis_server import RedisServer
from tests.support.system import System

__all__ = ["table", "test_every_type_with_every_filter"]

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def system(kafka: str, valkey: RedisServer) -> Iterator[System]:
    """Takes the place of the one on the mock broker in this module."""
    with System(kafka, valkey.url, environment=ENVIRONMENT) as system:
        yield system
