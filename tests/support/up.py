"""`tidemark up --embedded` as a user starts it, and the ordinary clients that a user would have."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from confluent_kafka import Producer

from connectors import clock
from connectors.clock import SHIFT_VARIABLE, shift_s

TOKEN = "a-token-of-the-up-tests"
TIMEOUT_S = 60.0


def eventually(check: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)
    return answer


class Up:
    """One run in ``directory``; the data directory there outlives it. ``settings``: environment variables."""

    def __init__(self, directory: Path, *options: str, **settings: str) -> None:
        self.data_dir = directory / "data"
        self.ready_file = directory / "ready.json"
        self.log_file = directory / "log"
        command = [str(Path(sys.executable).with_name("tidemark")), "up", "--embedded", "--port", "0"]
        command += ["--token", TOKEN, "--data-dir", str(self.data_dir), "--ready-file", str(self.ready_file), *options]
        env = {**os.environ, SHIFT_VARIABLE: str(shift_s()), **settings}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            eventually(lambda: self.ready_file.exists() or self.process.poll() is not None, "ready file")
            assert self.process.poll() is None, self.log()
        except BaseException:
            print(self.log())
            self.stop()
            raise
        ready = json.loads(self.ready_file.read_text())
        assert ready["pid"] == self.process.pid
        self.api, self.kafka, self.redis = ready["api"], ready["kafka"], ready["redis"]

    def __enter__(self) -> Up:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            print(self.log())
        self.stop()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")[-6000:]

    def stop(self) -> int:
        """SIGTERM; the exit code after the drain."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)

    def children(self) -> dict[int, str]:
        """Process id -> command line, of everything that the supervisor started."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip() for pid in pids}

    def pid_of(self, role: str) -> int | None:
        """The one process whose command line ends with the role's name; None while there is none."""
        found = [pid for pid, line in self.children().items() if line.endswith(f"tidemark {role}")]
        assert len(found) <= 1, found
        return found[0] if found else None

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.api}{path}", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    def metric(self, name: str) -> float:
        """The sum over its labels, as /metrics of the API shows it for all processes."""
        text = httpx.get(f"{self.api}/metrics", timeout=30).raise_for_status().text
        values = [line.rpartition(" ")[2] for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(value) for value in values)

    def produce(self, customer: str, transaction_ids: Sequence[str], amount: int) -> None:
        """One event for each id, through an ordinary Kafka client, acknowledged."""
        failures: list[Any] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer({"bootstrap.servers": self.kafka, "partitioner": "murmur2_random"})
        for transaction_id in transaction_ids:
            event = {
                "transaction_id": transaction_id,
                "customer_id": customer,
                "event_type": "call",
                "timestamp": clock.now().isoformat().replace("+00:00", "Z"),
                "properties": {"units": amount},
            }
            producer.produce("usage-events", json.dumps(event), key=customer, on_delivery=delivered)
        assert producer.flush(30) == 0
        assert not failures


class Inbox:
    """A webhook receiver in a thread. ``notifications``: by id, each as it came first."""

    def __init__(self) -> None:
        self.notifications: dict[str, dict[str, Any]] = {}
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                notification = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inbox.notifications.setdefault(notification["id"], notification)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the test looks at the notifications."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def crossings(self) -> set[tuple[str, str]]:
        """(alert id, transaction id of the crossing event)."""
        found = [notification["properties"] for notification in list(self.notifications.values())]
        return {(properties["alert_id"], properties["evidence"]["transaction_id"]) for properties in found}
