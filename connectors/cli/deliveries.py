"""`tidemark deliveries`: look at webhook deliveries and send them again, straight from Redis, without the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from connectors import clock

if TYPE_CHECKING:
    from connectors.redis.types import LoggedDelivery
    from connectors.webhooks.operations import DeliveryFilter, DeliveryOperations, Selection

_T = TypeVar("_T")
_STATUSES = ("waiting", "delivered", "exhausted", "superseded", "endpoint_removed", "unwanted")
_IDS_SHOWN = 20
_CLOCKS_APART_MS = 60_000
"""A dispatcher's clock may be ahead of this machine's, and so may be what it writes into the log."""


@click.group()
def deliveries() -> None:
    """List webhook deliveries, look at their attempts, send them again.

    \b
    Examples:
      tidemark deliveries list --status exhausted
      tidemark deliveries show 0b6a...:7f1c...
      tidemark deliveries resend --endpoint 7f1c... --dry-run
      tidemark deliveries recover 7f1c... --since 2026-03-01T00:00:00Z
    """


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--until", metavar="INSTANT", help="Changed before; RFC 3339."),
        click.option("--since", metavar="INSTANT", help="Changed at or after; RFC 3339."),
        click.option("--type", "type_", metavar="TYPE"),
        click.option("--alert", metavar="ID"),
        click.option("--customer", metavar="ID"),
        click.option("--endpoint", metavar="ID"),
    ):
        command = option(command)
    return command


@deliveries.command("list")
@_filters
@click.option("--status", type=click.Choice(_STATUSES), multiple=True, help="May be repeated.  [default: all]")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def list_(limit: int, status: tuple[str, ...], **given: str | None) -> None:
    """Show deliveries, the latest change first.

    \b
    Example:
      tidemark deliveries list --status waiting --status exhausted
    """
    wanted = _filter(status or _STATUSES, **given)

    async def read(operations: DeliveryOperations) -> list[LoggedDelivery]:
        from connectors.webhooks.operations import START, Cursor

        shown: list[LoggedDelivery] = []
        cursor: Cursor | None = START
        while cursor is not None and len(shown) < limit:
            page, cursor = await operations.page(wanted, cursor, limit - len(shown))
            shown += page
        return shown

    for logged in _with_operations(read):
        delivery = logged.delivery
        fields = (_text(logged.changed_ms), logged.status, f"{delivery.attempts} attempts", delivery.id, delivery.entry.type)
        click.echo("  ".join((*fields, delivery.last_error or _why(delivery.unwanted))).rstrip())


@deliveries.command()
@click.argument("delivery_id")
def show(delivery_id: str) -> None:
    """Show a delivery, its body and its latest attempts.

    \b
    Example:
      tidemark deliveries show 0b6a...:7f1c...
    """
    import orjson

    logged, attempts = _with_operations(lambda operations: _found(operations, delivery_id))
    delivery = logged.delivery
    click.echo(f"{logged.status} since {_text(logged.changed_ms)}, {delivery.attempts} attempts")
    if logged.status == "waiting":
        click.echo(f"next attempt at {_text(delivery.due_ms)}")
    for endpoint_id, reason in delivery.unwanted:
        click.echo(f"not wanted: {reason}" if not endpoint_id else f"not wanted by {endpoint_id}: {reason} of its filter")
    click.echo(delivery.entry.body.decode())
    for raw in attempts:
        attempt = orjson.loads(raw)
        status = "" if attempt["status"] is None else f" {attempt['status']}"
        click.echo(f"{_text(attempt['at_ms'])}  {attempt['outcome']}{status}  {attempt['seconds']:.3f} s  {attempt['response']}")


@deliveries.command()
@click.argument("delivery_id", required=False)
@_filters
@click.option("--status", type=click.Choice(_STATUSES), multiple=True, help="May be repeated.  [default: exhausted]")
@click.option("--to", metavar="ENDPOINT", help="Send it to this endpoint, whatever its filter says.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent.")
def resend(delivery_id: str | None, status: tuple[str, ...], to: str | None, dry_run: bool, **given: str | None) -> None:
    """Send one delivery again, or all that match: dead letters, unless other statuses are named.

    A notification that no endpoint wanted (status unwanted) goes to the endpoint that --to names.

    \b
    Examples:
      tidemark deliveries resend 0b6a...:7f1c...
      tidemark deliveries resend --status unwanted --since 2026-03-01T00:00:00Z --to 7f1c...
      tidemark deliveries resend --endpoint 7f1c... --since 2026-03-01T00:00:00Z --dry-run
    """
    if delivery_id is None and not any(value for name, value in given.items() if name != "until"):
        raise click.UsageError("name a delivery, or give --endpoint, --customer, --alert, --type or --since")
    if delivery_id is not None and (status or dry_run or any(given.values())):
        raise click.UsageError("a single delivery takes no options")
    if delivery_id is not None:
        one = delivery_id
        click.echo(_with_operations(lambda operations: _resend_one(operations, one, to)))
        return
    wanted = _filter(status or ("exhausted",), **given)
    _with_operations(lambda operations: _select_and_send(operations, wanted, dry_run, to))


@deliveries.command()
@click.argument("endpoint_id")
@click.option("--since", metavar="INSTANT", required=True, help="RFC 3339.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent.")
def recover(endpoint_id: str, since: str, dry_run: bool) -> None:
    """Send an endpoint what it has not got since an instant, as far as the log reaches back.

    \b
    Example:
      tidemark deliveries recover 7f1c... --since 2026-03-01T00:00:00Z
    """
    since_ms = _milliseconds(since)
    _with_operations(lambda operations: _recover(operations, endpoint_id, since_ms, dry_run))


async def _found(operations: DeliveryOperations, delivery_id: str) -> tuple[LoggedDelivery, list[bytes]]:
    from connectors.cli.errors import Fault

    found = await operations.find(delivery_id)
    if found is None:
        raise Fault(f"there is no delivery {delivery_id}")
    return found


async def _resend_one(operations: DeliveryOperations, delivery_id: str, to: str | None) -> str:
    from connectors.cli.errors import Fault

    logged, _ = await _found(operations, delivery_id)
    if to is None and not logged.delivery.endpoint_id:
        raise Fault("no endpoint wanted this notification: name the one that it is to be sent to (--to)")
    return await operations.resend(await _redirected(operations, logged, to), _now_ms())


async def _redirected(operations: DeliveryOperations, logged: LoggedDelivery, to: str | None) -> LoggedDelivery:
    from connectors.cli.errors import Fault
    from connectors.webhooks.operations import for_endpoint

    if to is None:
        return logged
    if not await operations.knows(to):
        raise Fault(f"there is no webhook endpoint {to}")
    return for_endpoint(logged, to)


async def _recover(operations: DeliveryOperations, endpoint_id: str, since_ms: int, dry_run: bool) -> None:
    """Part by part, each told as it is done; what is sent meanwhile is none of it."""
    until_ms = _now_ms() + _CLOCKS_APART_MS
    at_ms: int | None = since_ms
    while at_ms is not None:
        selection = await operations.missed(endpoint_id, at_ms, until_ms)
        await _send(operations, selection, dry_run)
        at_ms = selection.looked_until_ms


async def _select_and_send(operations: DeliveryOperations, wanted: DeliveryFilter, dry_run: bool, to: str | None) -> None:
    await _send(operations, await operations.select(wanted), dry_run, to)


async def _send(operations: DeliveryOperations, selection: Selection, dry_run: bool, to: str | None = None) -> None:
    from connectors.webhooks.operations import Selection

    redirected = [await _redirected(operations, each, to) for each in selection.deliveries]
    selection = Selection([each for each in redirected if each.delivery.endpoint_id], selection.complete)
    if not dry_run:
        await operations.resend_all(selection, _now_ms())
    for logged in list(reversed(selection.deliveries))[:_IDS_SHOWN]:
        click.echo(logged.delivery.id)
    count = len(selection.deliveries)
    click.echo(
        f"{count} {'would be sent' if dry_run else 'sent'} again{'' if selection.complete else '; there are more'}", err=True
    )


def _why(unwanted: tuple[tuple[str, str], ...]) -> str:
    """The first reasons, in a line."""
    told = [reason if not endpoint_id else f"{endpoint_id}: {reason}" for endpoint_id, reason in unwanted[:3]]
    return f"{', '.join(told)}{', ...' if len(unwanted) > len(told) else ''}"


def _filter(
    statuses: tuple[str, ...],
    *,
    endpoint: str | None,
    customer: str | None,
    alert: str | None,
    type_: str | None,
    since: str | None,
    until: str | None,
) -> DeliveryFilter:
    from connectors.webhooks.operations import DeliveryFilter

    since_ms = 0 if since is None else _milliseconds(since)
    until_ms = 2**53 if until is None else _milliseconds(until)
    return DeliveryFilter(endpoint, customer, alert, type_, frozenset(statuses), since_ms, until_ms)


def _milliseconds(text: str) -> int:
    from schemas.documents import instant_us

    try:
        return instant_us(text) // 1000
    except ValueError:
        raise click.UsageError(f"{text!r} is not an instant such as 2026-01-31T00:00:00Z") from None


def _text(at_ms: int) -> str:
    from schemas.documents import instant_text

    return instant_text(at_ms * 1000)


def _now_ms() -> int:
    return clock.now_ms()


def _with_operations(work: Callable[[DeliveryOperations], Awaitable[_T]]) -> _T:
    from connectors.cli.errors import Fault, plain_faults, read_settings
    from connectors.redis.catalog import CatalogStore
    from connectors.redis.client import connect
    from connectors.webhooks.operations import DeliveryOperations

    settings = read_settings()

    async def run() -> _T:
        client = connect(settings)
        try:
            partitions = await CatalogStore(client).partitions()
            if partitions is None:
                raise Fault("the system was never started: there are no deliveries")
            return await work(DeliveryOperations(client, partitions, settings))
        finally:
            await client.aclose()

    with plain_faults(settings):
        return asyncio.run(run())
