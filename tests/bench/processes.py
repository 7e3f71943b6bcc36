"""What processes cost, from /proc: CPU time and memory of a tree of processes. Only reads.

A tree's CPU is the user and system time of the processes that live plus that of the children they
have waited for, so a PostgreSQL backend that has ended is in its postmaster's sum.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")


def parents() -> dict[int, int]:
    """Parent of every process of the machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                found[int(entry.name)] = int(_stat(entry)[1])
    return found


def trees(roots: Mapping[str, int]) -> dict[str, list[int]]:
    """Every process below each root, the root too; a process belongs to its nearest root."""
    up = parents()
    names = {pid: name for name, pid in roots.items()}
    found: dict[str, list[int]] = {name: [] for name in roots}
    for pid in up:
        ancestor = pid
        while ancestor not in names and ancestor in up:
            ancestor = up[ancestor]
        if ancestor in names:
            found[names[ancestor]].append(pid)
    return found


def cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """User and system time by name."""
    return {name: sum(_cpu_seconds(pid) for pid in pids) for name, pids in trees(roots).items()}


def pss_bytes(roots: Mapping[str, int]) -> dict[str, int]:
    """Memory by name: what is shared by n processes counts 1/n to each."""
    return {name: sum(_pss_bytes(pid) for pid in pids) for name, pids in trees(roots).items()}


def machine_busy_seconds() -> float:
    """Time in which any core did anything, for whomever, since the start of the machine."""
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq) / _TICKS_S


def _stat(entry: Path) -> list[str]:
    """Fields of stat from the state on; the name before it may hold anything."""
    return (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        return sum(map(int, _stat(Path(f"/proc/{pid}"))[11:15])) / _TICKS_S
    return 0.0


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
