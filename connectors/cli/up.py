"""`tidemark up`: every role as a process of its own, with or without the embedded services."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
from prometheus_client.multiprocess import mark_process_dead
from pydantic import SecretStr
from rich.console import Console

from connectors.cli.errors import Fault, plain_faults
from connectors.cli.supervisor import Child, ChildGone, ChildSpec, Supervisor
from connectors.embedded import valkey
from connectors.embedded.backlog import until_consumed
from connectors.embedded.datadir import DataDir, DataDirError
from connectors.embedded.tether import tethered
from connectors.logs import redact_url
from connectors.redis.address import servers_of
from connectors.settings import Settings

_KAFKA_PORT = 9092
_LOAD_TIMEOUT_S = 120.0  # reading the append-only file of a large data directory takes its time
_EMBEDDED_ENV = {"TIDEMARK_KAFKA_FETCH_WAIT_MS": "5"}
"""The mock cluster answers a fetch that found nothing only when its wait is over, whatever arrives meanwhile."""

_LOOPBACK = "127.0.0.0/8,::1"
"""Where webhooks may go under --embedded: for trying out, the receiver is on this machine."""

_STOP_MARGIN_S = 5.0  # beyond the roles' own drain timeout
_STILL_WAITING_S = 10.0
_KILLED = 130


@dataclass(frozen=True, slots=True)
class UpOptions:
    """``port``: of the API, 0 = any; ``kafka_port``: of the embedded broker, None = as the last time, or 9092, or any.
    ``token``: an API token beside those in the settings; never on a command line of ours."""

    embedded: bool
    port: int
    token: str | None
    data_dir: Path
    kafka_port: int | None
    ready_file: Path | None
    workers: int


@dataclass(frozen=True, slots=True)
class Services:
    """Where Kafka and Redis are. ``kafka_own``: where our roles reach it, if that differs. ``partitions``: of the events topic,
    where we made it ourselves."""

    kafka: str
    redis_url: str
    partitions: int | None = None
    kafka_own: str | None = None

    @property
    def kafka_for_roles(self) -> str:
        return self.kafka_own or self.kafka


def own_command(*arguments: str) -> list[str]:
    """This program again; by its installed name where that exists, which reads better in a list of processes."""
    script = Path(sysconfig.get_path("scripts")) / "tidemark"
    return [sys.executable, *([str(script)] if script.exists() else ["-m", "connectors.cli.main"]), *arguments]


def run_up(options: UpOptions, settings: Settings, console: Console) -> int:
    """Runs until SIGTERM or SIGINT: 0 after the drain, 130 if a second signal cut it short. Fault if something fails for good."""
    if options.port:
        _check_port("the API", settings.api_host, options.port)
    if options.kafka_port:
        _check_port("the embedded Kafka broker", "127.0.0.1", options.kafka_port)
    with contextlib.ExitStack() as stack:
        data = None
        if options.embedded:
            try:
                data = DataDir(options.data_dir)
            except DataDirError as error:
                raise Fault(str(error)) from error
            stack.callback(data.close)
        metrics_dir = tempfile.mkdtemp(prefix="tidemark-metrics-")
        stack.callback(shutil.rmtree, metrics_dir, ignore_errors=True)
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)
            stack.callback(options.ready_file.unlink, missing_ok=True)
        with plain_faults(settings):
            return asyncio.run(_Up(options, settings, console, data, metrics_dir).run())


def _check_port(what: str, host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise Fault(f"{what} cannot listen on {host} port {port}: {reason}") from error


class _Up:
    """One run of `tidemark up`."""

    def __init__(self, options: UpOptions, settings: Settings, console: Console, data: DataDir | None, metrics_dir: str) -> None:
        self._options = options
        self._settings = settings
        self._console = console
        self._data = data
        self._metrics_dir = metrics_dir
        self._log = structlog.get_logger()
        self._made_token: str | None = None
        self._services_in_use: Services | None = None
        self._api: Child | None = None

    async def run(self) -> int:
        supervisor = Supervisor()
        stop, kill = asyncio.Event(), asyncio.Event()

        def ask_to_stop(_signum: signal.Signals) -> None:
            if stop.is_set():
                kill.set()
                supervisor.kill()
            stop.set()

        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # HUP: its terminal was closed
            loop.add_signal_handler(signum, ask_to_stop, signum)
        starting = asyncio.create_task(self._start(supervisor))
        stopping = asyncio.create_task(supervisor.until(stop))
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            failure = await stopping
        except ChildGone as error:
            failure = str(error)
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            self._log.info("draining")
            await self._save_backlog(kill)
            await supervisor.stop()
        if failure is not None:
            raise Fault(failure)
        self._log.info("killed" if kill.is_set() else "stopped")
        return _KILLED if kill.is_set() else 0

    async def _save_backlog(self, kill: asyncio.Event) -> None:
        """The embedded broker forgets: what it acknowledged, to the API or to others, must be in Redis before it ends."""
        services = self._services_in_use
        if self._api is None or services is None or services.partitions is None:
            return
        await self._api.stop()
        update = {"kafka_bootstrap_servers": services.kafka_for_roles, "redis_url": SecretStr(services.redis_url)}
        settings = self._settings.model_copy(update=update)
        saving = asyncio.create_task(until_consumed(settings, services.partitions, settings.drain_timeout_s))
        killed = asyncio.create_task(kill.wait())
        await asyncio.wait([saving, killed], return_when=asyncio.FIRST_COMPLETED)
        if saving.done() and not saving.result():
            self._log.warning("the embedded broker ends with records that were not processed")
        for task in (saving, killed):
            task.cancel()
        await asyncio.gather(saving, killed, return_exceptions=True)

    async def _start(self, supervisor: Supervisor) -> None:
        """Starts everything, waits until it answers, and says so."""
        self._services_in_use = services = await self._services(supervisor)
        self._say_step("dispatcher, worker and API")
        dispatcher = supervisor.start(self._role("dispatcher", services))
        workers = [supervisor.start(self._role("worker", services)) for _ in range(self._options.workers)]
        self._api = api = supervisor.start(self._role("api", services, self._api_env()))
        *_, url = await supervisor.ready(dispatcher, *workers, api)
        self._pin_port(api, url)
        await self._until_answers(url)
        if self._options.ready_file is not None:
            self._write_ready_file(self._options.ready_file, url, services)
        self._say_ready(url, services)

    async def _services(self, supervisor: Supervisor) -> Services:
        if self._data is None:
            services = Services(self._settings.kafka_bootstrap_servers, self._settings.redis_url.get_secret_value())
            await asyncio.to_thread(self._warn_unreachable, services)
            return services
        port = valkey.free_port()
        self._say_step(f"a Valkey server (data in {self._data.path})")
        supervisor.start(
            ChildSpec(
                "embedded Valkey server",
                tethered(valkey.server_command(self._data.redis, port)),
                pass_fds=(self._data.lock_fd,),
            )
        )
        await valkey.wait_until_loaded(port, _LOAD_TIMEOUT_S)
        partitions = await valkey.stored_partitions(port) or self._settings.topic_partitions
        topics = {
            self._settings.topic_events: partitions,
            self._settings.topic_dead_letters: 1,
            self._settings.topic_notifications: 1,
        }
        kafka_port, or_any = self._kafka_port(self._data)
        where = ["--port", str(kafka_port), *(["--or-any"] if or_any else [])]
        self._say_step("a Kafka broker (librdkafka's mock cluster, in memory)")
        broker = supervisor.start(
            ChildSpec(
                "embedded broker",
                own_command("embedded-broker", *where, *(f"{topic}:{count}" for topic, count in topics.items())),
                restart=False,
            )
        )
        [addresses] = await supervisor.ready(broker)
        own, public = addresses.split()
        self._data.keep_kafka_port(int(public.rpartition(":")[2]))
        return Services(public, valkey.url_of(port), partitions, own)

    def _kafka_port(self, data: DataDir) -> tuple[int, bool]:
        """The embedded broker's port, and whether another one will do: that of the last time, so that a producer's configuration
        holds after a restart."""
        given = self._options.kafka_port
        if given is not None:
            return given, False
        return data.kafka_port or _KAFKA_PORT, True

    def _role(self, name: str, services: Services, extra: dict[str, str] | None = None) -> ChildSpec:
        env = {
            "TIDEMARK_KAFKA_BOOTSTRAP_SERVERS": services.kafka_for_roles,
            "TIDEMARK_REDIS_URL": services.redis_url,
            "PROMETHEUS_MULTIPROC_DIR": self._metrics_dir,
            "TIDEMARK_LOG_FORMAT": self._settings.log_format,
            **(self._embedded_env() if self._options.embedded else {}),
            **(extra or {}),
        }
        return ChildSpec(
            name,
            own_command(name),
            env,
            stop_timeout_s=self._settings.drain_timeout_s + _STOP_MARGIN_S,
            on_exit=self._forget_gauges,
        )

    def _embedded_env(self) -> dict[str, str]:
        allowed = {} if self._loopback_is_decided() else {"TIDEMARK_WEBHOOK_ALLOW_LIST": _LOOPBACK}
        return {**_EMBEDDED_ENV, **allowed}

    def _loopback_is_decided(self) -> bool:
        """Whether the user has said which private targets webhooks may have."""
        return bool({"webhook_allow_private", "webhook_allow_list"} & self._settings.model_fields_set)

    def _forget_gauges(self, pid: int) -> None:
        """What a dead process measured about the present (partitions owned, lag) is no longer so; its counters stay."""
        mark_process_dead(pid, self._metrics_dir)  # type: ignore[no-untyped-call]

    def _api_env(self) -> dict[str, str]:
        """The token goes through the environment: a command line is shown to every user of the machine."""
        tokens = [token for token in self._settings.api_tokens.get_secret_value().split(",") if token.strip()]
        if self._options.token:
            tokens.append(self._options.token)
        elif self._options.embedded and not tokens:
            self._made_token = secrets.token_urlsafe(24)
            tokens.append(self._made_token)
        return {"TIDEMARK_API_TOKENS": ",".join(tokens), "TIDEMARK_API_PORT": str(self._options.port)}

    def _pin_port(self, api: Child, url: str) -> None:
        """A port that was chosen freely stays the same when the API is started again."""
        port = url.rstrip("/").rpartition(":")[2]
        api.spec.env = {**api.spec.env, "TIDEMARK_API_PORT": port}

    async def _until_answers(self, url: str) -> None:
        complained_at = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while True:
                try:
                    async with session.get(f"{url}/readyz") as response:
                        if response.status == 200:
                            return
                        answer = (await response.text())[:300]
                except (aiohttp.ClientError, TimeoutError) as error:
                    answer = str(error)
                if time.monotonic() - complained_at > _STILL_WAITING_S:
                    self._log.warning("still waiting for the API", answer=answer)
                    complained_at = time.monotonic()
                await asyncio.sleep(0.05)

    def _write_ready_file(self, path: Path, url: str, services: Services) -> None:
        """Atomically: whoever sees the file sees all of it."""
        ready = {"api": url, "kafka": services.kafka, "redis": redact_url(services.redis_url), "pid": os.getpid()}
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(ready) + "\n")
        draft.replace(path)

    def _say_step(self, what: str) -> None:
        """At once, so that nobody waits before a silent terminal."""
        self._console.print(f"starting {what} ...", style="dim", soft_wrap=True, highlight=False, markup=False)

    def _say_ready(self, url: str, services: Services) -> None:
        say = self._console.print
        say("[bold green]tidemark is up[/]", highlight=False)
        say(f"  API      {url}  (metrics {url}/metrics, OpenAPI {url}/openapi.json)", soft_wrap=True, highlight=False)
        if self._made_token:
            say(f"  token    {self._made_token}", soft_wrap=True, highlight=False)
        say(f"  Kafka    {services.kafka}  topic {self._settings.topic_events}", soft_wrap=True, highlight=False)
        say(f"  Redis    {redact_url(services.redis_url)}", soft_wrap=True, highlight=False, markup=False)
        if self._data is not None:
            say(f"  data     {self._data.path}", soft_wrap=True, highlight=False, markup=False)
            say("  The embedded broker keeps its log in memory only: it forgets it at the end.", highlight=False)
            if not self._loopback_is_decided():
                say("  Webhooks to this machine (loopback) are allowed, for trying out.", highlight=False)
        say("  Ctrl-C drains and stops.", highlight=False)

    def _warn_unreachable(self, services: Services) -> None:
        """The roles wait for their services; that they wait, and for whom, is said once, in plain words."""
        targets = [("Kafka", server.strip()) for server in services.kafka.split(",")]
        targets += [("Redis", server) for server in servers_of(services.redis_url)]
        for name, address in targets:
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=2).close()
            except (OSError, ValueError) as error:
                self._console.print(
                    f"{name} at {address} does not answer ({error}); waiting for it",
                    soft_wrap=True,
                    highlight=False,
                    markup=False,
                )
