"""API tokens: shown once when they are made; Redis keeps their SHA-256, so nobody can read them back."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import orjson
from rich.console import Console
from rich.table import Table

from connectors import clock
from connectors.cli.errors import Fault, plain_faults, read_settings
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect

_T = TypeVar("_T")
_TOKEN_BYTES = 32


def create(name: str) -> None:
    token = secrets.token_urlsafe(_TOKEN_BYTES)

    async def put(store: CatalogStore) -> None:
        if name in {made["name"] for made in await _stored(store)}:
            raise Fault(f"a token named {name!r} exists already; revoke it first")
        document = {"name": name, "created_at": clock.now().isoformat(timespec="seconds")}
        await store.put_token(hashlib.sha256(token.encode()).hexdigest(), orjson.dumps(document))

    _with_store(put)
    click.echo(token)
    click.echo("This token is not shown again.", err=True)


def show() -> None:
    async def read(store: CatalogStore) -> list[dict[str, str]]:
        return await _stored(store)

    table = Table("name", "created at", "sha-256 begins with")
    for made in sorted(_with_store(read), key=lambda made: made["created_at"]):
        table.add_row(made["name"], made["created_at"], made["sha256"][:12])
    Console().print(table)


def revoke(name: str) -> None:
    async def delete(store: CatalogStore) -> None:
        found = [made["sha256"] for made in await _stored(store) if made["name"] == name]
        if not found:
            raise Fault(f"there is no token named {name!r}")
        for digest in found:
            await store.delete_token(digest)

    _with_store(delete)
    click.echo(f"revoked {name}", err=True)


async def _stored(store: CatalogStore) -> list[dict[str, str]]:
    return [{**orjson.loads(document), "sha256": digest} for digest, document in (await store.tokens()).items()]


def _with_store(work: Callable[[CatalogStore], Awaitable[_T]]) -> _T:
    settings = read_settings()

    async def run() -> _T:
        client = connect(settings)
        try:
            return await work(CatalogStore(client))
        finally:
            await client.aclose()

    with plain_faults(settings):
        return asyncio.run(run())
