"""The demo from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from connectors import clock
from connectors.cli.demo.expected import Crossing, Rule, recompute, rules_for
from connectors.cli.demo.receiver import Receiver
from connectors.cli.demo.report import arrivals, show_latencies, show_table, show_verdict
from connectors.cli.demo.scenario import EVENT_TYPE, Api, Scenario, set_up
from connectors.cli.demo.workload import Call, generate, read_trace
from connectors.cli.errors import Fault
from connectors.cli.up import own_command
from connectors.settings import Settings

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_QUIET_S = 15.0  # no webhook for so long: the missing ones will not come
_SETTLE_S = 0.5  # for webhooks that nobody expects
_LOG_LINES_SHOWN = 15
_FILE_COLUMNS = 100  # of a table that goes to a file or a pipe


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``speed``: times real time, 0 = as fast as it goes. ``events`` and ``seed`` are the generator's."""

    trace: Path | None
    speed: float
    customers: int
    events: int
    seed: int


def run_demo(options: DemoOptions) -> int:
    """0 if exactly the expected webhooks arrived with valid signatures and everything shut down cleanly, else 1."""
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    until = clock.now()
    if options.trace is not None:
        calls = read_trace(options.trace, options.customers, until)
        source = f"{options.trace.name} (customer = row number modulo {options.customers})"
    else:
        calls = generate(options.events, options.customers, options.seed, until)
        source = f"generator, seed {options.seed}"
    rules = rules_for(calls, options.customers)
    console.print(f"[bold]tidemark demo[/]: {len(calls):,} events, {options.customers} customers; {source}", highlight=False)
    directory = Path(tempfile.mkdtemp(prefix="tidemark-demo-"))
    try:
        return asyncio.run(_Demo(options, calls, rules, console, directory).run())
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Demo:
    """One run. ``directory`` holds the data and the log; the caller removes it."""

    def __init__(
        self, options: DemoOptions, calls: Sequence[Call], rules: Sequence[Rule], console: Console, directory: Path
    ) -> None:
        self._options = options
        self._calls = calls
        self._rules = rules
        self._console = console
        self._directory = directory
        self._sent_at_s: dict[str, float] = {}

    async def run(self) -> int:
        expected = recompute(self._calls, self._rules)
        receiver = Receiver()
        webhook_url = await receiver.start()
        try:
            async with self._tidemark() as (ready, token), aiohttp.ClientSession() as session:
                self._say("up", f"all of them answer; API at {ready['api']}")
                scenario = await self._configure(Api(session, ready["api"], token), webhook_url)
                receiver.secret = scenario.secret
                await self._stream(ready["kafka"], scenario, receiver, len(expected))
                await asyncio.sleep(_SETTLE_S)
        finally:
            await receiver.stop()
        return self._report(receiver, scenario, expected)

    async def _configure(self, api: Api, webhook_url: str) -> Scenario:
        first = min(call.at for call in self._calls).replace(minute=0, second=0, microsecond=0)
        scenario = await set_up(api, self._rules, self._options.customers, first, webhook_url)
        self._say(
            "set up",
            f"through the HTTP API: {len(scenario.customers)} customers with contracts, 2 metrics, 2 products "
            f"(tiered and flat), {len(scenario.rules)} alerts, 1 webhook endpoint",
        )
        return scenario

    async def _stream(self, bootstrap: str, scenario: Scenario, receiver: Receiver, expected: int) -> None:
        """Produces all events, while webhooks come in."""
        columns = (TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            events = progress.add_task("events", total=len(self._calls))
            webhooks = progress.add_task("webhooks", total=expected)

            async def follow() -> None:
                while True:
                    progress.update(events, completed=len(self._sent_at_s))
                    progress.update(webhooks, completed=len(receiver.received))
                    await asyncio.sleep(0.05)

            following = asyncio.create_task(follow())
            started_s = time.monotonic()
            await self._produce(bootstrap, scenario.customers)
            produced_s = time.monotonic() - started_s
            await receiver.wait_for(expected, _QUIET_S)
            following.cancel()
            progress.update(events, completed=len(self._sent_at_s))
            progress.update(webhooks, completed=len(receiver.received))
        self._say(
            "streamed",
            f"{len(self._calls):,} events to Kafka in {produced_s:.1f} s; {len(receiver.received)} webhooks arrived",
        )

    async def _produce(self, bootstrap: str, customers: Sequence[str]) -> None:
        """Keyed by customer id, at the pace asked for; returns when Kafka has acknowledged all."""
        topic = Settings().topic_events
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            loop_s = asyncio.get_running_loop().time
            began, first = loop_s(), self._calls[0].at
            futures = []
            for number, call in enumerate(self._calls):
                if self._options.speed:
                    wait_s = (call.at - first).total_seconds() / self._options.speed - (loop_s() - began)
                    if wait_s > 0.001:
                        await asyncio.sleep(wait_s)
                elif number % 100 == 0:
                    await asyncio.sleep(0)  # let the receiver in
                self._sent_at_s[call.transaction_id] = clock.now_s()
                key = customers[call.customer].encode()
                futures.append(await producer.send(topic, _event(call, customers), key=key))
            await asyncio.gather(*futures)
        finally:
            await producer.stop()

    @contextlib.asynccontextmanager
    async def _tidemark(self) -> AsyncIterator[tuple[dict[str, Any], str]]:
        """`tidemark up --embedded` as a process of its own; yields its ready file and the API token."""
        token = secrets.token_urlsafe(24)
        ready_file, log_file = self._directory / "ready.json", self._directory / "log"
        env = {**os.environ, "TIDEMARK_API_TOKENS": token, "TIDEMARK_WEBHOOK_ALLOW_PRIVATE": "true"}
        options = {
            "--port": "0",
            "--kafka-port": "0",
            "--data-dir": str(self._directory / "data"),
            "--ready-file": str(ready_file),
        }
        command = own_command("up", "--embedded", *(part for option in options.items() for part in option))
        self._say("starting", "a Kafka broker, a Valkey server, worker, API and dispatcher: some seconds")
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield await self._wait_ready(process, ready_file), token
        except BaseException:
            self._show_log(log_file)
            raise
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        if process.returncode != 0:
            self._show_log(log_file)
            raise Fault(f"`tidemark up` did not shut down cleanly: exit code {process.returncode}")
        self._say("down", "everything drained and stopped, exit code 0")

    async def _wait_ready(self, process: asyncio.subprocess.Process, ready_file: Path) -> dict[str, Any]:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (ready := _read_ready_file(ready_file)) is None:
            if process.returncode is not None:
                raise Fault("`tidemark up` ended before it was ready; its log is above")
            if time.monotonic() > deadline:
                raise Fault(f"`tidemark up` was not ready within {_START_TIMEOUT_S:.0f} s; its log is above")
            await asyncio.sleep(0.05)
        return ready

    def _show_log(self, log_file: Path) -> None:
        for line in log_file.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]:
            self._console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)

    def _report(self, receiver: Receiver, scenario: Scenario, expected: set[Crossing]) -> int:
        found = arrivals(receiver, scenario, self._sent_at_s)
        show_table(self._console, found, self._rules)
        show_latencies(self._console, found)
        return 0 if show_verdict(self._console, found, expected, receiver) else 1

    def _say(self, what: str, text: str) -> None:
        self._console.print(f"[green]{what:>9}[/] {text}", highlight=False, soft_wrap=True)


def _read_ready_file(path: Path) -> dict[str, Any] | None:
    """What the supervisor wrote, or None while it has not: the file appears whole."""
    try:
        ready: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return ready


def _event(call: Call, customers: Sequence[str]) -> bytes:
    return orjson.dumps(
        {
            "transaction_id": call.transaction_id,
            "customer_id": customers[call.customer],
            "event_type": EVENT_TYPE,
            "timestamp": call.at.isoformat().replace("+00:00", "Z"),
            "properties": {"input_tokens": call.input_tokens, "output_tokens": call.output_tokens, "model": call.model},
        }
    )
