"""Clocks that nobody sets: what leases are told in, and what an approval's time runs by."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlalchemy as sa


@dataclass(frozen=True)
class Moment:
    """A reading of a clock that nobody sets: of the database, or on one machine the time since it was started."""

    clock: str
    at: float


def read_clock(connection: sa.Connection) -> Moment:
    """Postgres' own time; beside SQLite, which no other machine uses, the machine's time since it was started."""
    if connection.dialect.name == "postgresql":
        at = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        return Moment("database", float(at))
    return Moment(find_boot(), read_steady_clock())


def read_steady_clock() -> float:
    """Seconds since the machine was started, those that it was suspended among them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def find_boot() -> str:
    """What names this start of the machine: on Linux a file, on macOS a variable of the kernel."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        with contextlib.suppress(OSError):
            command = ["sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - ours
        return ""
