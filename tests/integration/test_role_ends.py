"""Each role as a process: its own health, and its end, whatever is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from connectors.cli.roles import NOT_DRAINED
from tests.support.kafka_server import free_port
from tests.support.mock_kafka import MockKafka
from tests.support.redis_server import RedisServer
from tests.support.worker_harness import PARTITIONS, TOPICS

ROLES = ("worker", "dispatcher", "api")
DRAIN_S = 5.0
WAIT_S = 60.0


class Roles:
    """One process of each role, with ports of their own."""

    def __init__(self, kafka: str, redis_url: str, folder: Path) -> None:
        self.ports = {role: free_port() for role in ROLES}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
        environment |= {
            "TIDEMARK_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "TIDEMARK_REDIS_URL": redis_url,
            "TIDEMARK_DRAIN_TIMEOUT_S": str(DRAIN_S),
            "TIDEMARK_REDIS_TIMEOUT_S": "1",
        }
        for role in ROLES:
            port = {"TIDEMARK_API_PORT" if role == "api" else "TIDEMARK_METRICS_PORT": str(self.ports[role])}
            with (folder / f"{role}.log").open("ab") as log:
                command = [str(Path(sys.executable).with_name("tidemark")), role]
                self.processes[role] = subprocess.Popen(command, env=environment | port, stdout=log, stderr=log)

    def get(self, role: str, path: str, timeout_s: float = 5.0) -> httpx.Response | None:
        """None: no answer."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[role]}{path}", timeout=timeout_s)
        except httpx.TransportError:
            return None

    def answer(self, role: str, path: str) -> httpx.Response:
        answer = self.get(role, path)
        assert answer is not None, self.log(role)
        return answer

    def is_ready(self, role: str) -> bool:
        answer = self.get(role, "/readyz")
        return answer is not None and answer.status_code == 200

    def log(self, role: str) -> str:
        return f"--- {role}\n" + (self._folder / f"{role}.log").read_text(errors="replace")[-3000:]

    def stop(self) -> dict[str, tuple[int, float]]:
        """SIGTERM to all: the exit code of each, and after how many seconds it had ended."""
        began = time.monotonic()
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        ended: dict[str, tuple[int, float]] = {}
        while len(ended) < len(ROLES) and time.monotonic() - began < WAIT_S:
            for role, process in self.processes.items():
                if role not in ended and process.poll() is not None:
                    ended[role] = (process.returncode, time.monotonic() - began)
            time.sleep(0.02)
        return ended

    def kill(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def eventually(check: Callable[[], object], roles: Roles, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < deadline, f"{what}\n" + "\n".join(map(roles.log, ROLES))
        time.sleep(0.05)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Roles, MockKafka, RedisServer]]:
    with ExitStack() as stack:
        kafka = stack.enter_context(MockKafka(TOPICS))
        server = RedisServer(dir=folder)
        server.start()
        stack.callback(server.kill)
        roles = Roles(kafka.bootstrap_servers, server.url, folder)
        stack.callback(roles.kill)
        yield roles, kafka, server


def test_each_role_answers_for_itself_and_ends_in_order(tmp_path: Path) -> None:
    """A role that hangs answers nothing, not even that it lives."""
    with running(tmp_path) as (roles, _, _):
        for role in ROLES:
            eventually(partial(roles.is_ready, role), roles, f"{role} to be ready")
        for role in ("worker", "dispatcher"):
            assert roles.answer(role, "/healthz").json() == {"status": "ok"}
            assert "tidemark_" in roles.answer(role, "/metrics").text
        assert roles.answer("worker", "/readyz").json()["checks"] == {
            **dict.fromkeys(("start", "group", "topics", "loops"), "ok"),
            **{f"partition {number}": "ok" for number in range(PARTITIONS)},
        }

        def reported() -> bool:
            told = roles.answer("api", "/readyz").json()["roles"]
            return {(each["role"], each["ready"]) for each in told} == {("worker", True), ("dispatcher", True)}

        eventually(reported, roles, "the API to know of the others")
        os.kill(roles.processes["worker"].pid, signal.SIGSTOP)
        assert roles.get("worker", "/healthz", timeout_s=1.0) is None
        os.kill(roles.processes["worker"].pid, signal.SIGCONT)
        ended = roles.stop()
        assert {role: code for role, (code, _) in ended.items()} == dict.fromkeys(ROLES, 0), list(map(roles.log, ROLES))
        assert all(seconds < DRAIN_S for _, seconds in ended.values()), ended


@pytest.mark.parametrize("gone", [("kafka",), ("redis",), ("kafka", "redis")], ids=" and ".join)
def test_each_role_ends_within_its_drain_time_whatever_is_gone(tmp_path: Path, gone: tuple[str, ...]) -> None:
    with running(tmp_path) as (roles, kafka, server):
        for role in ROLES:
            eventually(partial(roles.is_ready, role), roles, f"{role} to be ready")
        if "kafka" in gone:
            kafka.set_down()
        if "redis" in gone:
            server.kill()
        eventually(lambda: not roles.is_ready("api"), roles, "the API to notice")
        ended = roles.stop()
        assert set(ended) == set(ROLES), list(map(roles.log, ROLES))
        assert {code for code, _ in ended.values()} <= {0, NOT_DRAINED}
        assert all(seconds < DRAIN_S + 2 for _, seconds in ended.values()), ended


def test_a_role_that_never_got_ready_ends_at_once(tmp_path: Path) -> None:
    roles = Roles(f"127.0.0.1:{free_port()}", f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    try:
        for role in ("worker", "dispatcher"):
            eventually(partial(roles.get, role, "/healthz"), roles, f"{role} to live")
            assert not roles.is_ready(role)
        eventually(lambda: "waiting" in roles.log("api"), roles, "the API to wait")
        ended = roles.stop()
        assert {role: code for role, (code, _) in ended.items()} == dict.fromkeys(ROLES, 0), list(map(roles.log, ROLES))
    finally:
        roles.kill()
