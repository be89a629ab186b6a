"""The processes that take part, each measured from outside: a receiver, a dispatcher, Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import orjson

from tests.support.system import Role

STOP_TIMEOUT_S = 60.0


class Receiver:
    """benchmarks.receiver as a process. ``mark`` separates what comes now from what came before."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidemark-bench-")
        self._result = Path(self._folder.name) / "received.json"
        command = [sys.executable, "-m", "benchmarks.receiver", str(self._result)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def count(self) -> int:
        """Requests so far, those that hang not included."""
        return int(httpx.get(self.url("/count"), timeout=30).text)

    def stop(self) -> list[tuple[float, str, dict[str, object]]]:
        """(first byte at, path, body) of each request."""
        self._process.terminate()
        self._process.wait(STOP_TIMEOUT_S)
        return [(at, path, body) for at, path, body in orjson.loads(self._result.read_bytes())]

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


@contextmanager
def dispatcher(redis_url: str, **settings: object) -> Iterator[Role]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")},
        "TIDEMARK_REDIS_URL": redis_url,
        "TIDEMARK_WEBHOOK_ALLOW_PRIVATE": "true",
        "TIDEMARK_LOG_LEVEL": "WARNING",
        **{f"TIDEMARK_{name.upper()}": str(value) for name, value in settings.items()},
    }
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        role = Role("dispatcher", environment, Path(folder) / "dispatcher.log")
        try:
            yield role
        finally:
            role.kill()


def rss_mb(pid: int) -> float:
    """Memory of a process that is not shared or swapped (Linux: from /proc)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
