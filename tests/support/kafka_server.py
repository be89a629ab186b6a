"""A real Apache Kafka for the tests: one node that is broker and controller (KRaft), on loopback, in a folder of its own.

    with KafkaServer() as kafka: ... kafka.bootstrap ...

``python -m tests.support.kafka_server --port 9092 --data-dir D`` runs one in the foreground until Ctrl-C.
Needs Java 17 or newer; the jars come from tests.support.kafka_jars.
"""

from __future__ import annotations

import argparse
import atexit
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.kafka_jars import JarError, class_path

JAVA_MAJOR_MIN = 17
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 30
CLUSTER_ID = "dGlkZW1hcmstdGVzdHMtMQ"  # 16 bytes in base64, as StorageTool asks for

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes={message_bytes_max}
replica.fetch.max.bytes={message_bytes_max}
"""


class KafkaUnavailable(RuntimeError):
    """No Kafka can be run here, for a reason that its text names."""


def java_problem() -> str | None:
    """Why Kafka cannot run here; None if it can."""
    java = shutil.which("java")
    if java is None:
        return f"Apache Kafka needs Java {JAVA_MAJOR_MIN} or newer: no java on the PATH"
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', text)
    if found is None or int(found[1]) < JAVA_MAJOR_MIN:
        return f"Apache Kafka needs Java {JAVA_MAJOR_MIN} or newer: {text.splitlines()[:1]}"
    return None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class KafkaServer:
    """One Kafka node. ``data_dir`` survives ``stop`` and ``kill``, so that ``start`` goes on with the same log;
    without one, a temporary folder is used and removed by ``stop``."""

    def __init__(self, port: int | None = None, data_dir: Path | None = None, heap_mb: int = 512) -> None:
        self.port = port or free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._controller_port = free_port()
        self._temporary = data_dir is None
        self._folder = Path(tempfile.mkdtemp(prefix="tidemark-kafka-")) if data_dir is None else data_dir
        self._heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self._folder / "server.log"

    def start(self) -> KafkaServer:
        if problem := java_problem():
            raise KafkaUnavailable(problem)
        jars = _jars()
        self._folder.mkdir(parents=True, exist_ok=True)
        logs = self._folder / "logs"
        properties = self._folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(port=self.port, controller=self._controller_port, logs=logs, message_bytes_max=MESSAGE_BYTES_MAX)
        )
        if not (logs / "meta.properties").exists():
            self._format(jars, properties)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java(jars, f"-Xmx{self._heap_mb}m", "-Xms128m"), "kafka.Kafka", str(properties)],
                stdout=log,
                stderr=log,
            )
        atexit.register(self.kill)
        self._wait_until_ready()
        return self

    def _java(self, jars: str, *options: str) -> list[str]:
        return ["java", *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", jars]

    def _format(self, jars: str, properties: Path) -> None:
        command = [*self._java(jars, "-Xmx128m"), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaUnavailable(f"formatting Kafka's storage failed: {done.stdout}{done.stderr}")

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise KafkaUnavailable(f"Kafka ended with {self._process.returncode}:\n{self.log_file.read_text()[-4000:]}")
            if _accepts(self.port) and _has_broker(self.bootstrap):
                return
            if time.monotonic() > deadline:
                raise KafkaUnavailable(f"Kafka not ready after {START_TIMEOUT_S} s:\n{self.log_file.read_text()[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """As a power cut would: nothing is flushed or closed."""
        self._end(signal.SIGKILL)

    def wait(self) -> int:
        assert self._process is not None, "not started"
        return self._process.wait()

    def _end(self, signal_number: int) -> None:
        atexit.unregister(self.kill)
        if self._process is None:
            return
        self._process.send_signal(signal_number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> KafkaServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _jars() -> str:
    try:
        return class_path()
    except JarError:  # another file than the one that was checked in: never a reason to go on without
        raise
    except (OSError, RuntimeError) as error:  # no network, or no such artifact there
        raise KafkaUnavailable(f"Apache Kafka's jars cannot be fetched: {error}") from error


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _has_broker(bootstrap: str) -> bool:
    try:
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        return bool(client.list_topics(timeout=5).brokers)
    except KafkaException:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description="Run Apache Kafka (one node) in the foreground until Ctrl-C.")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--data-dir", type=Path, help="where the log is kept; without it, a temporary folder that is removed")
    arguments = parser.parse_args()
    server = KafkaServer(arguments.port, arguments.data_dir)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.start()
        print(f"Kafka answers at {server.bootstrap}. Ctrl-C stops it.", flush=True)
        raise SystemExit(server.wait())
    except KeyboardInterrupt:
        pass
    except KafkaUnavailable as error:
        raise SystemExit(str(error)) from None
    finally:
        server.stop()


if __name__ == "__main__":
    main()
