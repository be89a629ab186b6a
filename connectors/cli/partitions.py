"""`tidemark partitions`: where each partition of the events topic stands, and passing over what nobody can read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

_CLAIMS_BETWEEN_MAX = 100

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from connectors.redis.partition import PartitionStore
    from connectors.redis.types import Position
    from connectors.settings import Settings

_LEVEL = 50  # more than any level of the standard library's loggers


@click.group()
def partitions() -> None:
    """Show where the partitions of the events topic stand; pass over records that cannot be read.

    \b
    Examples:
      tidemark partitions list
      tidemark partitions skip 3
      tidemark partitions skip 3 --to 1200 --save batch.bin
    """


@partitions.command("list")
def list_() -> None:
    """Show each partition's position, the end of its log, its lag, who serves it, and when it was committed last.

    \b
    Example:
      tidemark partitions list
    """
    _run(_list)


@partitions.command()
@click.argument("partition", type=click.IntRange(0))
@click.option("--to", type=click.IntRange(1), help="The offset to go on at.  [default: behind the batch at the position]")
@click.option("--save", type=click.Path(path_type=Path), help="Write the batch's bytes to this file first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def skip(partition: int, to: int | None, save: Path | None, yes: bool) -> None:
    """Pass over the records at a partition's position, because nothing can read them. Their usage is never counted.

    The worker that serves the partition goes on behind them when it tries again, within a minute.

    \b
    Examples:
      tidemark partitions skip 3
      tidemark partitions skip 3 --to 1200 --save batch.bin --yes
    """

    async def work(settings: Settings, redis: Redis) -> None:
        await _skip(settings, redis, partition, to, save, yes)

    _run(work)


def _run(work: Any) -> None:
    import logging

    from connectors.cli.errors import plain_faults, read_settings
    from connectors.redis.client import connect

    settings = read_settings()
    logging.disable(_LEVEL)  # aiokafka's, of which nothing is for whoever sits at a terminal

    async def with_redis() -> None:
        redis = connect(settings)
        try:
            await work(settings, redis)
        finally:
            await redis.aclose()

    with plain_faults(settings):
        asyncio.run(with_redis())


async def _list(settings: Settings, redis: Redis) -> None:
    from aiokafka import TopicPartition
    from rich.console import Console
    from rich.table import Table

    from connectors.cli.errors import Fault
    from connectors.kafka.ends import Ends
    from connectors.redis.catalog import CatalogStore
    from connectors.redis.keys import PartitionKeys

    count = await CatalogStore(redis).partitions()
    if count is None:
        raise Fault("this installation was never started: nothing was read yet")
    ends = Ends(settings)
    try:
        found = await ends.of([TopicPartition(settings.topic_events, number) for number in range(count)])
    finally:
        await ends.stop()
    table = Table("partition", "position", "end", "lag", "served by", "committed")
    store: Any = redis
    for here, end in sorted(found.items()):
        position, owner, committed_ms = await store.hmget(
            PartitionKeys(here.partition).position, ["next_offset", "owner", "committed_at_ms"]
        )
        lag = "" if position is None else str(max(0, end - int(position)))
        table.add_row(
            str(here.partition), _text(position, "-"), str(end), lag, _text(owner, "nobody yet"), _instant(committed_ms)
        )
    Console().print(table)


async def _moved(store: PartitionStore, position: Position, target: int) -> bool:
    """Moves a position. Its worker claims the partition again each time that it tries to go on; that moves nothing, so it does
    not count as getting on."""
    from connectors.redis.types import Refused

    now = position
    for _ in range(_CLAIMS_BETWEEN_MAX):
        outcome = await store.rewind(now.epoch, now.sequence, target)
        if not isinstance(outcome, Refused):
            return True
        now = outcome.position
        if now.next_offset != position.next_offset:
            break
    return False


async def _skip(settings: Settings, redis: Redis, partition: int, to: int | None, save: Path | None, yes: bool) -> None:
    from aiokafka import TopicPartition

    from connectors.cli.errors import Fault
    from connectors.kafka.raw_batch import batch_at
    from connectors.redis.partition import PartitionStore
    from engine.customer import stored_days

    store = PartitionStore(redis, partition, dedup_days=settings.dedup_days, stored_days=stored_days)
    position = await store.position()
    here = TopicPartition(settings.topic_events, partition)
    batch = await batch_at(settings, here, position.next_offset or 0)
    if batch is None:
        raise Fault(f"{here.topic}[{partition}] has no record at its position, {position.next_offset or 0}: nothing to skip")
    target = batch.next_offset if to is None else to
    first = max(batch.first, position.next_offset or 0)
    if target <= first:
        raise Fault(f"--to has to be behind the position, {first}")
    if save is not None:
        await asyncio.to_thread(save.write_bytes, batch.data)
    question = f"Pass over the records {first} to {target - 1} of {here.topic}[{partition}]? Their usage is never counted."
    if not yes and not click.confirm(question):
        raise Fault("nothing was changed")
    if not await _moved(store, position, target):
        raise Fault("the partition has got on in the meantime: nothing was changed; look again")
    click.echo(f"{here.topic}[{partition}] goes on at {target}", err=True)


def _text(raw: bytes | None, otherwise: str) -> str:
    return otherwise if raw is None else raw.decode()


def _instant(raw: bytes | None) -> str:
    from datetime import UTC, datetime

    return "never" if raw is None else datetime.fromtimestamp(int(raw) / 1000, UTC).isoformat(timespec="seconds")
