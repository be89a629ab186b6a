"""Each type of alert once, at the instants where rules about periods change their minds: the table's own checks hold at each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.test_alert_table import ENVIRONMENT, live_through_rows, table
from tests.support.alert_cases import Case, Table
from tests.support.alert_table import ROWS
from tests.support.instants import INSTANTS, living_at
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import RedisServer
from tests.support.system import System

__all__ = ["table"]


@pytest.fixture(scope="module", params=INSTANTS)
def system(request: pytest.FixtureRequest, valkey: RedisServer) -> Iterator[System]:
    """Takes the place of the one of today in this module."""
    with (
        living_at(request.param),
        MockKafka({}) as kafka,
        System(kafka.bootstrap_servers, valkey.url, environment=ENVIRONMENT) as system,
    ):
        for topic, partitions in ((system.topic, system.partitions), (system.dead_letters, 1)):
            kafka.create(topic, partitions)
        yield system


def test_each_type_once(table: Table) -> None:
    """And what there is of two forms: usage with and without a contract, months of calendar months and of weeks."""
    kinds = {
        (row.alert["alert_type"], row.monthly, not row.contracts, row.days, bool(row.charges)): row for row in reversed(ROWS)
    }
    live_through_rows(table, [Case(row, number, for_all=False) for number, row in enumerate(kinds.values())])
