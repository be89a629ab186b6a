"""Small instruments: CPU time of a process and of the machine, percentiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time, user and system, that a process of ours has used so far (Linux: from /proc)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """The memory that a process of ours has in use (Linux: from /proc)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def machine_cpu_s() -> float:
    """CPU time that all processes of the machine have used since it started (Linux: from /proc)."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / _TICKS_PER_S


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that is not exceeded by ``share`` of them (nearest rank)."""
    ordered = sorted(values)
    rank = max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)
    return ordered[min(rank, len(ordered) - 1)]
