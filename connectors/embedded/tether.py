"""Orphan protection: a process that is sent a signal as soon as its parent is gone, however the parent ended.

    python -m connectors.embedded.tether PARENT_PID -- COMMAND ...     tethers itself, then becomes COMMAND

The kernel's parent-death signal survives ``execve``, so programs that know nothing of it can be tethered too.
It exists on Linux only; elsewhere a child of a supervisor that was killed goes on until it is stopped by hand.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tether(parent_pid: int, signum: int = signal.SIGTERM) -> None:
    """Have this process sent ``signum`` when ``parent_pid`` dies; at once if that has happened already.

    The kernel watches the parent's *thread* that forked: supervisors must start children from their main thread.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it died between the fork and the line above
        os.kill(os.getpid(), signum)


def tethered(command: list[str]) -> list[str]:
    """The command line that runs ``command`` tethered to the calling process."""
    return [sys.executable, "-m", "connectors.embedded.tether", str(os.getpid()), "--", *command]


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    os.execv(sys.argv[3], sys.argv[3:])
