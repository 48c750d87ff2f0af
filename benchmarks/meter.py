"""What a stretch of a process costs: measured in the process itself, so that start-up and imports fall out."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

#: `ru_maxrss` is in kilobytes, on a Mac in bytes.
_MAXRSS_PER_MB = 1_000_000 if sys.platform == "darwin" else 1_000


@dataclass(frozen=True)
class Cost:
    """User and system time and wall time of what was measured, and the process's memory."""

    #: CPU until it began: imports, opening the ledger, one row to load what is loaded late.
    start_cpu_s: float
    cpu_s: float
    wall_s: float
    #: The most that was resident, start-up included.
    peak_mb: float

    def cpu_ms_a_row(self, n_rows: int) -> float:
        return 1000 * self.cpu_s / n_rows


@contextmanager
def metered() -> Iterator[None]:
    """Print what the block costs as one line of JSON."""
    before, started = read_cpu_s(), time.monotonic()
    yield
    wall_s, cpu_s = time.monotonic() - started, read_cpu_s() - before
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_PER_MB
    print(json.dumps(asdict(Cost(before, cpu_s, wall_s, peak_mb))), flush=True)


def read_cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    """User and system time of this process, or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime
