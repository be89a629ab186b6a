"""What never mends stops one partition, is told, and is tried again; the others go on in the same session."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from prometheus_client import REGISTRY

from connectors.kafka import stopped
from connectors.kafka.outgoing import Outgoing
from connectors.redis.keys import PartitionKeys
from tests.support.broken_batches import BREAKS, bad_header_name, produce_broken
from tests.support.worker_harness import EVENTS, Harness, customer_in, event


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped, "AGAIN_FIRST_S", 0.1)
    monkeypatch.setattr(stopped, "AGAIN_MAX_S", 0.2)


def stops(kind: str) -> float:
    return REGISTRY.get_sample_value("tidemark_partition_stops_total", {"error": kind}) or 0.0


async def position(harness: Harness, partition: int) -> int:
    return int(await harness.redis.hget(PartitionKeys(partition).position, "next_offset") or 0)


async def pass_over(harness: Harness, partition: int, saved: Path) -> str:
    """As an operator does."""
    environment = {
        "TIDEMARK_KAFKA_BOOTSTRAP_SERVERS": harness.settings.kafka_bootstrap_servers,
        "TIDEMARK_REDIS_URL": harness.settings.redis_url.get_secret_value(),
    }
    command = [sys.executable, "-m", "connectors.cli.main", "partitions", "skip", str(partition), "--yes", "--save", str(saved)]
    done = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, told = await done.communicate()
    assert done.returncode == 0, told.decode()
    return told.decode()


@pytest.mark.parametrize("change", BREAKS, ids=lambda change: change.__name__)
async def test_a_batch_that_cannot_be_read_stops_its_partition_alone(
    harness: Harness, tmp_path: Path, change: Callable[[bytearray], None]
) -> None:
    """What is before it counts, up to the very record where that can be told; what is behind it waits for an operator."""
    here, elsewhere = customer_in(0), customer_in(1)
    await harness.create(here)
    await harness.create(elsewhere)
    servers = harness.settings.kafka_bootstrap_servers
    await harness.produce_many(0, [event(f"before-{number}", here) for number in range(3)])
    await produce_broken(servers, EVENTS, 0, [event(f"broken-{number}", here) for number in range(3)], change)
    await harness.produce_many(0, [event("behind", here)])
    before = stops("UnreadableRecords")
    worker = await harness.worker()
    readable = 3 + (2 if change is bad_header_name else 0)
    await harness.until(lambda: stops("UnreadableRecords") >= before + 2, "the partition to stop, and to be tried again")
    assert await position(harness, 0) == readable
    await harness.produce(1, event("elsewhere", elsewhere))
    await harness.until(lambda: _applied(harness, elsewhere, ["elsewhere"]), "the other partition to go on")
    assert not worker.over
    assert await pass_over(harness, 0, tmp_path / "batch") == f"{EVENTS}[0] goes on at 6\n"
    assert b"broken-2" in (tmp_path / "batch").read_bytes()
    expected = [*["before-0", "before-1", "before-2", "broken-0", "broken-1"][:readable], "behind"]
    await harness.until(lambda: _applied(harness, here, expected), "what is behind the batch")
    assert REGISTRY.get_sample_value("tidemark_partition_stopped", {"partition": "0"}) == 0


@pytest.mark.parametrize("error", [MessageSizeTooLargeError(), ZeroDivisionError("a defect")], ids=["refused", "defect"])
async def test_what_a_topic_does_not_take_and_a_defect_stop_one_partition_until_it_is_mended(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    customer_id = customer_in(1)
    await harness.create(customer_id)
    bury, broken = Outgoing.bury, True

    async def refuse(outgoing: Outgoing, rejected: object, sent: object) -> None:
        if rejected and broken:
            raise error
        await bury(outgoing, rejected, sent)  # type: ignore[arg-type]

    monkeypatch.setattr(Outgoing, "bury", refuse)
    before = stops(type(error).__name__)
    await harness.worker()
    await harness.produce(0, b"no event")
    await harness.until(lambda: stops(type(error).__name__) > before, "the partition to stop")
    await harness.produce(1, event("elsewhere", customer_id))
    await harness.until(lambda: _applied(harness, customer_id, ["elsewhere"]), "the other partition to go on")
    assert await position(harness, 0) == 0
    broken = False
    await harness.settled()
    assert len(await harness.dead_letters()) == 1


async def _applied(harness: Harness, customer_id: str, expected: list[str]) -> bool:
    return await harness.applied(customer_id) == expected
