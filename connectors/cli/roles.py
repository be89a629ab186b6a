"""One role in this process: settings, logs, signals, health; then the role runs until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
import uvloop

from connectors import logs
from connectors.cli.errors import plain_faults, read_settings
from connectors.embedded.tether import tether
from connectors.health import Health
from connectors.heartbeats import beating
from connectors.role_http import serving
from connectors.settings import Settings

TETHER_VARIABLE = "TIDEMARK_TETHER_PID"  # set by a supervisor: the role ends when that process does
READY_VARIABLE = "TIDEMARK_READY_FD"  # set by a supervisor: a pipe that gets one line when the role is ready

NOT_DRAINED = 1  # the exit code of a role that was told to stop and could not drain in time

RoleMain = Callable[[Settings, asyncio.Event, Callable[..., None]], Awaitable[None]]


def report_ready(text: str) -> bool:
    """Tell the supervisor that this process is ready; ``text`` says where (may be empty). False if nobody asked."""
    fd = os.environ.pop(READY_VARIABLE, None)
    if fd is None:
        return False
    with os.fdopen(int(fd), "w") as pipe:
        pipe.write(text + "\n")
    return True


def follow_supervisor() -> None:
    parent = os.environ.pop(TETHER_VARIABLE, None)
    if parent is not None:
        tether(int(parent))


def run_role(name: str, main: RoleMain, *, health: Health | None = None, own_http: bool = False) -> NoReturn:
    """Run a role until SIGTERM or SIGINT, then let it drain; a second signal ends it at once. Ends the process.

    ``health``: where the role tells of itself; ``own_http``: it serves its health and metrics itself.
    """
    follow_supervisor()
    settings = read_settings()
    logs.configure(settings, name)
    if settings.time_shift_s or settings.clock_skew_s:
        structlog.get_logger().warning(
            "the clock is moved, as for a test", shift_s=settings.time_shift_s, skew_s=settings.clock_skew_s
        )
    with plain_faults(settings):
        uvloop.run(_until_stopped(name, main, settings, health or Health(), own_http))
    # All is done and closed. Taking down an interpreter with millions of objects takes seconds, in which nothing happens.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _until_stopped(name: str, main: RoleMain, settings: Settings, health: Health, own_http: bool) -> None:
    log = structlog.get_logger()
    stop = asyncio.Event()

    def ready(where: str = "") -> None:
        if not health.started:
            log.info("ready", **({"url": where} if where else {}))
            report_ready(where)
        health.started = True

    def ask_to_stop(signum: signal.Signals) -> None:
        if stop.is_set():
            log.warning("stopped without draining", signal=signum.name)
            os._exit(128 + signum)
        log.info("draining", signal=signum.name)
        stop.set()
        if not health.started:  # still waiting for Kafka or Redis: there is nothing to drain
            running.cancel()
        loop.call_later(settings.drain_timeout_s, give_up)

    def give_up() -> None:
        """Kafka or Redis is gone, or slower than we may wait. What is not committed will be done again by a successor."""
        log.error("not drained in time, ending without", timeout_s=settings.drain_timeout_s)
        os._exit(NOT_DRAINED)

    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as around:
        if not own_http:
            await around.enter_async_context(serving(settings, health))
        await around.enter_async_context(beating(settings, name, health))
        running = asyncio.ensure_future(main(settings, stop, ready))
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, ask_to_stop, signum)
        try:
            await running
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
    log.info("stopped")
