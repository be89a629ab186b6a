"""The data directory of the embedded services, and the lock that keeps two of them out of it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_KAFKA_PORT_FILE = "kafka-port"
_LOCK_WAIT_S = 5.0  # a server whose supervisor was killed takes a moment to write its last and leave


class DataDirError(Exception):
    """The data directory cannot be used; the text is one line for the user."""


class DataDir:
    """An existing, writable, locked directory.

    The lock is a flock on ``lock``. The server inherits ``lock_fd``: while it lives, even without its supervisor, nobody
    else gets in, and there is no stale lock to clean up after a crash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.redis = self.path / "redis"
        try:
            self.redis.mkdir(parents=True, exist_ok=True)
            self.lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataDirError(f"data directory {path} cannot be used: {error.strerror}") from error
        try:
            self._lock()
        except BaseException:
            os.close(self.lock_fd)
            raise

    def _lock(self) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(self.lock_fd, 32, 0).decode(errors="replace").strip() or "unknown"
                    raise DataDirError(f"data directory {self.path} is in use by another tidemark (process {holder})") from None
                time.sleep(0.1)
            else:
                os.ftruncate(self.lock_fd, 0)
                os.pwrite(self.lock_fd, f"{os.getpid()}\n".encode(), 0)
                return

    @property
    def kafka_port(self) -> int | None:
        """Where the embedded broker listened the last time."""
        try:
            return int((self.path / _KAFKA_PORT_FILE).read_text())
        except (OSError, ValueError):  # never yet, or somebody wrote something else there
            return None

    def keep_kafka_port(self, port: int) -> None:
        (self.path / _KAFKA_PORT_FILE).write_text(f"{port}\n")

    def close(self) -> None:
        os.close(self.lock_fd)
