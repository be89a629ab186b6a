"""`tidemark quarantine`: customers for whom the engine raised, straight from Redis; the worker does what is asked for here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from connectors.redis.quarantine import QuarantineStore, Record

_T = TypeVar("_T")
_LOOK_AGAIN_S = 0.1


@click.group()
def quarantine() -> None:
    """List customers in quarantine, look at what waits for them, release them.

    A customer comes there when its evaluation fails. Its usage is held, and the other customers go on.

    \b
    Examples:
      tidemark quarantine list
      tidemark quarantine show 13117714-3f05-48e5-a6e9-a66093f13b4d
      tidemark quarantine release 13117714-3f05-48e5-a6e9-a66093f13b4d
    """


@quarantine.command("list")
def list_() -> None:
    """Show who is in quarantine, since when, and why.

    \b
    Example:
      tidemark quarantine list
    """
    found = _with_store(lambda store: store.records())
    for customer_id, record in found.items():
        click.echo(_line(customer_id, record))
    click.echo(f"{len(found)} in quarantine", err=True)


@quarantine.command()
@click.argument("customer_id")
@click.option("--limit", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many of its events.")
def show(customer_id: str, limit: int) -> None:
    """Show why a customer is in quarantine, and the oldest events that wait for it.

    \b
    Example:
      tidemark quarantine show 13117714-3f05-48e5-a6e9-a66093f13b4d
    """

    async def read(store: QuarantineStore) -> None:
        record = await _record(store, customer_id)
        click.echo(_line(customer_id, record))
        raised = f" at event {record.transaction_id}" if record.transaction_id else ""
        click.echo(f"raised in {record.stage}{raised}, {record.failures} times, the last time {_text(record.failed_ms)}")
        click.echo(f"under release {record.release}, catalog revision {record.catalog_revision}")
        if record.dead_lettered:
            click.echo(f"{record.dead_lettered} events found no room, and are dead letters with the reason 'quarantined'")
        for held in await store.events(customer_id, limit):
            click.echo(f"{_text(held.appended_at_ms)}  {held.topic}/{held.partition}/{held.offset}  {held.event.decode()}")

    _with_store(read)


@quarantine.command()
@click.argument("customer_id")
@click.option("--without", metavar="TRANSACTION_ID", multiple=True, help="Leave this event out: it becomes a dead letter.")
@click.option("--wait", "wait_s", type=click.FloatRange(0, 3600), default=30, show_default=True, help="For the worker, seconds.")
def release(customer_id: str, without: tuple[str, ...], wait_s: float) -> None:
    """Try a customer again: what waits is counted in its order, once. If that fails again, nothing is lost.

    Exits 0 if the customer has left quarantine, else 1. It is tried again by itself when its configuration or the catalog
    changes, and by a worker of another release.

    \b
    Examples:
      tidemark quarantine release 13117714-3f05-48e5-a6e9-a66093f13b4d
      tidemark quarantine release 13117714-3f05-48e5-a6e9-a66093f13b4d --without event-4711
    """

    async def ask(store: QuarantineStore) -> str:
        from connectors.cli.errors import Fault

        before = await _record(store, customer_id)
        await store.request_release(customer_id, without)
        until_s = time.monotonic() + wait_s
        while (now := await store.record(customer_id)) is not None and now.failures == before.failures:
            if time.monotonic() > until_s:
                raise Fault(f"asked for, but not done within {wait_s:g} s: does a worker run?")
            await asyncio.sleep(_LOOK_AGAIN_S)
        if now is not None:
            at = f" at event {now.transaction_id}" if now.transaction_id else ""
            raise Fault(f"it failed again in {now.stage}{at}: {now.error}; {now.events} events wait")
        return "released"

    click.echo(_with_store(ask))


async def _record(store: QuarantineStore, customer_id: str) -> Record:
    from connectors.cli.errors import Fault

    record = await store.record(customer_id)
    if record is None:
        raise Fault(f"customer {customer_id} is not in quarantine")
    return record


def _line(customer_id: str, record: Record) -> str:
    being = "  being released" if record.releasing else ""
    return f"{customer_id}  since {_text(record.since_ms)}  {record.events} events ({record.bytes} bytes){being}  {record.error}"


def _text(at_ms: int) -> str:
    from schemas.documents import instant_text

    return instant_text(at_ms * 1000)


def _with_store(work: Callable[[QuarantineStore], Awaitable[_T]]) -> _T:
    from connectors.cli.errors import Fault, plain_faults, read_settings
    from connectors.redis.catalog import CatalogStore
    from connectors.redis.client import connect
    from connectors.redis.quarantine import QuarantineStore
    from engine.versions import StoredByNewerRelease

    settings = read_settings()

    async def run() -> _T:
        client = connect(settings)
        try:
            partitions = await CatalogStore(client).partitions()
            if partitions is None:
                raise Fault("the system was never started: nobody is in quarantine")
            return await work(QuarantineStore(client, partitions))
        except StoredByNewerRelease as error:
            raise Fault(str(error)) from error
        finally:
            await client.aclose()

    with plain_faults(settings):
        return asyncio.run(run())
