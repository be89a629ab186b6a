"""The keys that seal secrets in Redis."""

from __future__ import annotations

import asyncio

import click
from cryptography.fernet import Fernet

from connectors.cli.errors import Fault, plain_faults, read_settings
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.redis.secrets import Vault


def new_key() -> None:
    click.echo(Fernet.generate_key().decode())
    click.echo("Put it first in TIDEMARK_SECRETS_KEYS of every role, the keys before it after a comma; then rotate.", err=True)


def rotate() -> None:
    settings = read_settings()
    vault = Vault.of(settings)
    if not vault.seals:
        raise Fault("TIDEMARK_SECRETS_KEYS is not set: `tidemark secrets new-key` makes a key")

    async def run() -> int:
        client = connect(settings)
        try:
            return await CatalogStore(client, vault).seal_endpoints_anew()
        finally:
            await client.aclose()

    with plain_faults(settings):
        count = asyncio.run(run())
    click.echo(f"sealed {count} webhook endpoints with the first key", err=True)
