"""Starts processes, restarts those that die, and stops them in order.

A child reports that it is ready by one line on a pipe (connectors.cli.roles). Children run in sessions of their own, so that
Ctrl-C in a terminal reaches the supervisor alone, which then drains them one after the other.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from connectors.cli.errors import Hopeless
from connectors.cli.roles import READY_VARIABLE, TETHER_VARIABLE

_KILL_WAIT_S = 5.0


class Backoff:
    """How long to wait before the next start: 1 s, doubling to 30 s, from the beginning after a minute of health."""

    FIRST_S = 1.0
    MAX_S = 30.0
    HEALTHY_S = 60.0

    def __init__(self) -> None:
        self._next_s = self.FIRST_S

    def after(self, ran_s: float) -> float:
        """The wait after a run that lasted ``ran_s``."""
        if ran_s >= self.HEALTHY_S:
            self._next_s = self.FIRST_S
        wait_s = self._next_s
        self._next_s = min(self.MAX_S, wait_s * 2)
        return wait_s


class ChildGone(Exception):
    """A child that must not be restarted has ended."""


@dataclass(slots=True)
class ChildSpec:
    """``restart``: whether a successor makes sense; the embedded broker's would have forgotten the log."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True
    stop_timeout_s: float = 25.0
    pass_fds: tuple[int, ...] = ()
    on_exit: Callable[[int], None] | None = None  # called with the process id of each process that ended


class Child:
    """One supervised process and its successors."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # of the first one that gets ready
        self.pid: int | None = None
        self._process: Process | None = None
        self._stopping = False
        self._log = structlog.get_logger().bind(child=spec.name)

    async def keep_running(self) -> None:
        """Runs until it is cancelled or stopped. Raises ChildGone, or Hopeless when a restart cannot help."""
        backoff = Backoff()
        clock = asyncio.get_running_loop().time
        while not self._stopping:
            started_at = clock()
            code = await self._run_once()
            if self._stopping:
                return
            if code == Hopeless.exit_code:
                raise ChildGone(f"the {self.spec.name} cannot run with this configuration; its last log line says why")
            if not self.spec.restart:
                raise ChildGone(f"the {self.spec.name} has ended ({describe_exit(code)})")
            wait_s = backoff.after(clock() - started_at)
            self._log.warning("a process died; it is started again", exit=describe_exit(code), wait_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> int:
        read_fd, write_fd = os.pipe()
        env = {**os.environ, **self.spec.env, TETHER_VARIABLE: str(os.getpid()), READY_VARIABLE: str(write_fd)}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(write_fd, *self.spec.pass_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        self.pid = self._process.pid
        report = asyncio.create_task(self._read_report(read_fd))
        try:
            return await self._process.wait()
        finally:
            report.cancel()
            if self._process.returncode is not None and self.spec.on_exit is not None:
                self.spec.on_exit(self._process.pid)

    async def _read_report(self, fd: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        try:
            line = await reader.readline()
            if line.endswith(b"\n") and not self.ready.done():
                self.ready.set_result(line.decode().strip())
        finally:
            transport.close()

    async def stop(self) -> None:
        """SIGTERM and a wait for the drain, then SIGKILL."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._log.debug("stopping")
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_timeout_s)
        except TimeoutError:
            self._log.warning("a process did not drain in time and was killed", timeout_s=self.spec.stop_timeout_s)
            process.kill()
            await asyncio.wait_for(process.wait(), _KILL_WAIT_S)

    def kill(self) -> None:
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


class Supervisor:
    """A stack of children: started in the order given, stopped in the reverse order."""

    def __init__(self) -> None:
        self._children: list[tuple[Child, asyncio.Task[None]]] = []
        self._failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def start(self, spec: ChildSpec) -> Child:
        child = Child(spec)
        task = asyncio.create_task(child.keep_running(), name=spec.name)
        task.add_done_callback(self._note_end)
        self._children.append((child, task))
        return child

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed.done():
            return
        error = task.exception()
        if isinstance(error, ChildGone):
            self._failed.set_result(str(error))
        elif error is not None:
            self._failed.set_exception(error)

    async def failure(self) -> str:
        """Waits until a child has ended for good; says which and why."""
        return await asyncio.shield(self._failed)

    async def until(self, event: asyncio.Event) -> str | None:
        """Waits for the event (None) or for a child's failure (its text), whichever comes first."""
        waiting, failure = asyncio.create_task(event.wait()), asyncio.create_task(self.failure())
        try:
            await asyncio.wait([waiting, failure], return_when=asyncio.FIRST_COMPLETED)
            return None if event.is_set() else failure.result()
        finally:
            waiting.cancel()
            failure.cancel()

    async def ready(self, *children: Child) -> list[str]:
        """Waits for the reports of these children; raises ChildGone if one ends for good before."""
        failure = asyncio.create_task(self.failure())
        try:
            for child in children:
                await asyncio.wait([child.ready, failure], return_when=asyncio.FIRST_COMPLETED)
                if not child.ready.done():
                    raise ChildGone(failure.result())
            return [child.ready.result() for child in children]
        finally:
            failure.cancel()

    async def stop(self) -> None:
        """In the reverse order; those of one name, such as several workers, at once."""
        for _, alike in itertools.groupby(reversed(self._children), key=lambda each: each[0].spec.name):
            children = list(alike)
            await asyncio.gather(*(child.stop() for child, _ in children))
            for _, task in children:
                task.cancel()
            await asyncio.gather(*(task for _, task in children), return_exceptions=True)

    def kill(self) -> None:
        for child, _task in self._children:
            child.kill()


def describe_exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
