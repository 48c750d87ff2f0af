"""CPU of a process that still runs, and of all below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def read_tree_cpu_s(pid: int) -> float:
    """User and system time so far, children that have ended included; Linux's /proc has it."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for each, fields in _read_stats():
        children.setdefault(int(fields[1]), []).append(each)
        # utime, stime, cutime, cstime
        ticks[each] = sum(map(int, fields[11:15]))
    return _sum_below(pid, children, ticks) / os.sysconf("SC_CLK_TCK")


def _read_stats() -> Iterator[tuple[int, list[str]]]:
    """Each process's number and what /proc says of it after its name, which may hold anything."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended since


def _sum_below(pid: int, children: dict[int, list[int]], ticks: dict[int, int]) -> int:
    return ticks.get(pid, 0) + sum(_sum_below(child, children, ticks) for child in children.get(pid, ()))
