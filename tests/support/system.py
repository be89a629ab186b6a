"""The whole system for a test: each role a process started by ``tidemark ROLE``, against a given Kafka and Redis.

Every system has topics and a consumer group of its own, so that many can share one Kafka.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import orjson
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from connectors.clock import SHIFT_VARIABLE, shift_s
from connectors.redis.keys import PartitionKeys
from tests.support.kafka_server import free_port
from tests.support.redis_server import Kind, RedisServer

TOKEN = "a-token-for-tests"
STEP_TIMEOUT_S = 60.0


@contextmanager
def running_redis(kind: Kind = "redis") -> Iterator[RedisServer]:
    """A fresh Redis (or Valkey) that writes through to its append-only file, as our own deployment runs it."""
    with tempfile.TemporaryDirectory(prefix="tidemark-redis-") as folder:
        server = RedisServer(kind=kind, dir=folder, appendonly=True)
        server.start()
        try:
            yield server
        finally:
            server.stop()


class SystemFailure(AssertionError):
    """A part did not do what the test needs; the text holds the end of the logs."""


class Role:
    """One process of one role. ``kill`` is kill -9; ``start`` after it is what a supervisor does."""

    def __init__(self, role: str, environment: Mapping[str, str], log_file: Path) -> None:
        self.role = role
        self.metrics_port = free_port()
        self.log_file = log_file
        self._environment = {**environment, "TIDEMARK_METRICS_PORT": str(self.metrics_port)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.role} was not started"
        return self._process.pid

    def start(self) -> Role:
        command = [str(Path(sys.executable).with_name("tidemark")), self.role]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and wait until it has drained. Returns the exit code."""
        return self._end(signal.SIGTERM, timeout_s)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def metrics(self) -> dict[str, float]:
        """Sample name (with its labels, as in the exposition) -> value."""
        port = self._environment["TIDEMARK_API_PORT"] if self.role == "api" else self.metrics_port
        return parse_metrics(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).raise_for_status().text)

    def log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-3000:] if self.log_file.exists() else ""

    def _end(self, signal_number: int, timeout_s: float = 30.0) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise SystemFailure(
                f"{self.role} did not end within {timeout_s} s of signal {signal_number}:\n{self.log_tail()}"
            ) from None


def parse_metrics(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values


class System:
    """API, dispatcher and workers, with their own topics. Use as a context manager; all processes end with it."""

    def __init__(
        self, bootstrap: str, redis_url: str, *, partitions: int = 4, environment: Mapping[str, str] | None = None
    ) -> None:
        name = uuid.uuid4().hex[:8]
        self.bootstrap = bootstrap
        self.partitions = partitions
        self.topic = f"usage-events-{name}"
        self.dead_letters = f"dead-letters-{name}"
        self.redis = redis.Redis.from_url(redis_url)
        self._folder = tempfile.TemporaryDirectory(prefix="tidemark-test-")
        api_port = free_port()
        self.api_url = f"http://127.0.0.1:{api_port}"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TIDEMARK_")},
            SHIFT_VARIABLE: str(shift_s()),
            "TIDEMARK_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "TIDEMARK_REDIS_URL": redis_url,
            "TIDEMARK_TOPIC_EVENTS": self.topic,
            "TIDEMARK_TOPIC_DEAD_LETTERS": self.dead_letters,
            "TIDEMARK_TOPIC_NOTIFICATIONS": f"notifications-{name}",
            "TIDEMARK_TOPIC_PARTITIONS": str(partitions),
            "TIDEMARK_CONSUMER_GROUP": f"worker-{name}",
            "TIDEMARK_API_PORT": str(api_port),
            "TIDEMARK_API_TOKENS": TOKEN,
            "TIDEMARK_WEBHOOK_ALLOW_PRIVATE": "true",
            **(environment or {}),
        }
        self.api = Role("api", self.environment, self._log_file("api"))
        self.dispatcher = Role("dispatcher", self.environment, self._log_file("dispatcher"))
        self.workers: list[Role] = []
        self._http = httpx.Client(base_url=self.api_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 1, "message.max.bytes": 4_000_000}
        )
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": f"watch-{name}", "enable.auto.commit": False, "log_level": 2}
        )

    def _log_file(self, name: str) -> Path:
        return Path(self._folder.name) / f"{name}.log"

    # --- processes ------------------------------------------------------------------------------------------------

    def start(self, workers: int = 1, *, dispatcher: bool = True) -> System:
        self.api.start()
        self.wait_for("the API to answer", self._api_answers)
        if dispatcher:
            self.dispatcher.start()
        for _ in range(workers):
            self.add_worker()
        return self

    def add_worker(self, environment: Mapping[str, str] | None = None) -> Role:
        number = len(self.workers) + 1
        worker = Role("worker", {**self.environment, **(environment or {})}, self._log_file(f"worker-{number}"))
        self.workers.append(worker.start())
        return worker

    def stop(self) -> None:
        """Ends every process, the workers first, so that their last notifications still find a dispatcher."""
        for role in [*self.workers, self.dispatcher, self.api]:
            role.stop()

    def __enter__(self) -> System:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            error.add_note(self.logs())
        try:
            if error is None:
                self.stop()
        finally:
            for role in [*self.workers, self.dispatcher, self.api]:
                role.kill()
            self._http.close()
            self._consumer.close()
            self.redis.close()
            self._folder.cleanup()

    def logs(self) -> str:
        return "\n".join(f"--- {role.log_file.name}\n{role.log_tail()}" for role in [self.api, self.dispatcher, *self.workers])

    def _api_answers(self) -> bool:
        if not self.api.alive():
            raise SystemFailure(f"the API ended:\n{self.api.log_tail()}")
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def wait_for(
        self, what: str, condition: Callable[[], bool], timeout_s: float = STEP_TIMEOUT_S, every_s: float = 0.02
    ) -> None:
        """Waits until ``condition`` holds. The limit only bounds a broken run; it measures nothing."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise SystemFailure(f"waited {timeout_s} s for {what}")
            time.sleep(every_s)

    # --- HTTP -----------------------------------------------------------------------------------------------------

    def post(self, path: str, body: object) -> Any:
        """Decimals go as exact JSON numbers (wrap them by ``orjson.Fragment``). Returns ``data`` of the answer."""
        answer = self._http.post(path, content=orjson.dumps(body), headers={"Content-Type": "application/json"})
        if answer.status_code != 200:
            raise SystemFailure(f"POST {path}: {answer.status_code} {answer.text}")
        return orjson.loads(answer.content)["data"] if answer.content else None

    # --- Kafka ----------------------------------------------------------------------------------------------------

    def produce(self, records: Iterable[tuple[str | None, bytes | None]]) -> None:
        """(key, value) pairs, acknowledged when this returns. Keyed records go where the Java client would put them."""
        errors: list[str] = []

        def delivered(error: object, _message: object) -> None:
            if error is not None:
                errors.append(str(error))

        for key, value in records:
            while True:
                try:
                    self._producer.produce(self.topic, value, key=key, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        assert self._producer.flush(STEP_TIMEOUT_S) == 0, "records were not acknowledged"
        assert not errors, errors[:3]

    def end_offset(self, topic: str, partition: int) -> int:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        return int(end)

    def read_topic(self, topic: str) -> list[Any]:
        """All of a topic's messages, partition after partition."""
        partitions = self._consumer.list_topics(topic, timeout=20).topics[topic].partitions
        messages: list[Any] = []
        for partition in partitions:
            end = self.end_offset(topic, partition)
            self._consumer.assign([TopicPartition(topic, partition, 0)])
            while end and (not messages or messages[-1].partition() != partition or messages[-1].offset() < end - 1):
                message = self._consumer.poll(20)
                assert message is not None, f"{topic}[{partition}] has no record before {end}"
                assert message.error() is None, message.error()
                messages.append(message)
        self._consumer.unassign()
        return messages

    # --- progress -------------------------------------------------------------------------------------------------

    def progress(self) -> int:
        """How many records are committed, over all partitions."""
        pipe = self.redis.pipeline(transaction=False)
        for partition in range(self.partitions):
            pipe.hget(PartitionKeys(partition).position, "next_offset")
        return sum(int(position or 0) for position in pipe.execute())

    def drained(self) -> bool:
        return self.progress() >= sum(self.end_offset(self.topic, p) for p in range(self.partitions))

    def outbox_depth(self) -> int:
        """Notifications that are not delivered yet, waiting retries included."""
        keys = [PartitionKeys(p) for p in range(self.partitions)]
        return sum(self.redis.xlen(key.outbox) + self.redis.hlen(key.deliveries) for key in keys)

    def wait_settled(self, timeout_s: float = STEP_TIMEOUT_S) -> None:
        """Until every record is committed and every notification delivered."""
        self.wait_for("all records to be committed", self.drained, timeout_s)
        self.wait_for("all notifications to be delivered", lambda: self.outbox_depth() == 0, timeout_s)
