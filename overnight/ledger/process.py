"""Which process a worker is, and whether it is certain that it has ended."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from overnight.ledger.clock import find_boot

_PROC = Path("/proc")
_HIDDEN = ""


def name_process() -> str:
    """Where the process stands: the machine since its start, the namespace of its number, its number and start."""
    pid = os.getpid()
    return f"{_find_machine()} {pid} {_find_start(pid)}"


@cache
def _find_machine() -> str:
    try:
        return f"{find_boot()} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _find_start(pid: int) -> str:
    """When the process was started, in the kernel's ticks; "ended" where it has, and empty where nothing tells."""
    try:
        # The name, in brackets, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _HIDDEN
    return "ended" if fields[0] in {"Z", "X"} else fields[19]


def is_gone(process: str) -> bool:
    """Whether it is certain that the process has ended: of one on another machine nothing is."""
    machine, pid, started = process.rsplit(" ", 2) if process.count(" ") >= 2 else ("", "", "")  # noqa: PLR2004 - three parts
    if not machine or machine != _find_machine() or not started:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's: it is there
    # Where /proc hides the processes of others, it cannot be told from another of the same number.
    return _find_start(int(pid)) not in {started, _HIDDEN}
