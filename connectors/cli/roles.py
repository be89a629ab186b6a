"""One role in this process: settings, logs, signals, metrics; then the role runs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from connectors import logs
from connectors.cli.errors import plain_faults, read_settings
from connectors.embedded.tether import tether
from connectors.settings import Settings

TETHER_VARIABLE = "TIDEMARK_TETHER_PID"  # set by a supervisor: the role ends when that process does
READY_VARIABLE = "TIDEMARK_READY_FD"  # set by a supervisor: a pipe that gets one line when the role is ready

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


def serve_metrics(settings: Settings) -> None:
    """Metrics of a role that has no HTTP server of its own.

    In multi-process mode (`tidemark up`) the API shows those of all processes, and this does nothing.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        return
    from prometheus_client import start_http_server

    server, _thread = start_http_server(settings.metrics_port, addr=settings.metrics_host)
    structlog.get_logger().info("metrics are served", port=server.server_port, path="/metrics")


def run_role(name: str, main: RoleMain, *, own_http: bool = False) -> None:
    """Run a role until SIGTERM or SIGINT, then let it drain; a second signal ends it at once.

    ``own_http``: the role serves its metrics itself.
    """
    follow_supervisor()
    settings = read_settings()
    logs.configure(settings, name)
    log = structlog.get_logger()

    async def until_stopped() -> None:
        stop, is_ready = asyncio.Event(), False

        def ready(where: str = "") -> None:
            nonlocal is_ready
            is_ready = True
            log.info("ready", **({"url": where} if where else {}))
            report_ready(where)

        def ask_to_stop(signum: signal.Signals) -> None:
            if stop.is_set():
                log.warning("stopped without draining", signal=signum.name)
                os._exit(128 + signum)
            log.info("draining", signal=signum.name)
            stop.set()
            if not is_ready:  # still waiting for Kafka or Redis: there is nothing to drain
                running.cancel()
            loop.call_later(settings.drain_timeout_s, give_up)

        def give_up() -> None:
            """Kafka or Redis is gone, or slower than we may wait. What is not committed will be done again by a successor."""
            log.error("not drained in time, ending without", timeout_s=settings.drain_timeout_s)
            os._exit(1)

        running = asyncio.ensure_future(main(settings, stop, ready))
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, ask_to_stop, signum)
        try:
            await running
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
        log.info("stopped")

    with plain_faults(settings):
        if not own_http:
            serve_metrics(settings)
        uvloop.run(until_stopped())
