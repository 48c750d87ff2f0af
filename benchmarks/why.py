"""`overnight why` on a ledger of a million completions, whose rows stand in the parts of one run and in no release."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, Goal
from benchmarks.meter import read_cpu_s
from benchmarks.million import N_ROWS, NOWHERE, fill_home
from benchmarks.serving import Provider, make_command

_GOAL = Goal(1.0)
_N_ROUNDS = 5
_NAMES = ("a row", "a quarantined row", "a row by its request key", "a row that is nowhere")
_BESIDE = "CPU of the whole process; the parts of one run hold all rows"


def measure_why(provider: Provider) -> Iterator[Figure]:
    """CPU of whole processes, the middle of some, with what the system does for them."""
    home = fill_home(provider)
    environment = provider.environment(home, NOWHERE)
    subprocess.run(make_command("trace", home), env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own interpreter
    # The middle row is set aside; ids are numbers from 1.
    for name, row in zip(_NAMES, (str(4 * N_ROWS // 5), str(N_ROWS // 2), _find_key(home), "nobody"), strict=True):
        spent = median(_spend(row, environment) for _ in range(_N_ROUNDS))
        yield Figure(f"`overnight why`, {name} of {N_ROWS:,}", spent, "s CPU", _GOAL, _BESIDE)


def leave_out_why() -> Iterator[Figure]:
    """The same lines, where they were not asked for."""
    for name in _NAMES:
        yield Figure(f"`overnight why`, {name} of {N_ROWS:,}", None, "s CPU", _GOAL, "`BENCH_MILLION=1 make bench`")


def _spend(row: str, environment: dict[str, str]) -> float:
    before = read_cpu_s(resource.RUSAGE_CHILDREN)
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "overnight", "why", row], env=environment, capture_output=True, text=True, check=False
    )
    if not (done.stdout.startswith("row ") or "is not in any run" in done.stderr):
        raise SystemExit(f"overnight why {row}: {done.stderr}")
    return read_cpu_s(resource.RUSAGE_CHILDREN) - before


def _find_key(home: Path) -> str:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        query = "SELECT lower(hex(request_key)) FROM requests LIMIT 1 OFFSET ?"
        return str(connection.execute(query, [N_ROWS // 2]).fetchone()[0])
