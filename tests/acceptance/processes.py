"""Processes as the kernel sees them: who runs in a project, whatever started it."""

from __future__ import annotations

from pathlib import Path


def list_processes(setting: str) -> dict[int, str]:
    """The command line of every living process whose environment holds the setting, NAME=value, by its id."""
    return {pid: words for pid in _list_ids() if (words := _read_command(pid, setting)) is not None}


def _list_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read_command(pid: int, setting: str) -> str | None:
    try:
        # A process that has ended and is not yet collected has an empty environment.
        if setting.encode() not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return None
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
