"""An identical rerun of a million rows: its time, and that it needs no more memory than a small one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, Goal
from benchmarks.meter import Cost
from benchmarks.serving import Provider, make_command, run

#: Fewer only to try the figure itself.
N_ROWS = int(os.environ.get("BENCH_MILLION_ROWS", "1000000"))
#: Filling takes minutes, so the filled homes are kept here.
_ROOT = Path(__file__).parents[1] / ".cache/bench"
#: Nothing listens there: a row that is not in the ledger fails.
NOWHERE = "http://127.0.0.1:9/v1"
_TIME, _PEAK, _GROWN = Goal(25), Goal(400), Goal(100)


def measure_million(provider: Provider, smaller: Cost) -> Iterator[Figure]:
    """The rerun beside that of the smaller size, measured before."""
    home = fill_home(provider)
    cost = run("engine", home / "rows.parquet", environment=provider.environment(home, NOWHERE))
    beside = f"0 calls; {cost.cpu_s:.1f} s CPU"
    yield Figure(f"identical rerun, {N_ROWS:,} rows, engine", cost.wall_s, "s", _TIME, beside)
    yield Figure("its peak memory", cost.peak_mb, "MB", _PEAK, f"the smaller rerun's: {smaller.peak_mb:.0f} MB")
    yield Figure("its memory over the smaller rerun's", cost.peak_mb - smaller.peak_mb, "MB", _GROWN)


def leave_out_million() -> Iterator[Figure]:
    """The same lines, where they were not asked for."""
    how = "`BENCH_MILLION=1 make bench`"
    yield Figure(f"identical rerun, {N_ROWS:,} rows, engine", None, "s", _TIME, how)
    yield Figure("its peak memory", None, "MB", _PEAK, how)
    yield Figure("its memory over the smaller rerun's", None, "MB", _GROWN, how)


def fill_home(provider: Provider) -> Path:
    """The filled home; where it is new, it is run once before: its first rerun writes what later ones find."""
    before = set(_ROOT.glob("*"))
    environment = provider.environment(_ROOT, NOWHERE)
    said = subprocess.run(  # noqa: S603 - our own interpreter
        make_command("fill", _ROOT, N_ROWS), env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    home = Path(said.stdout.splitlines()[-1])
    if home not in before:
        run("engine", home / "rows.parquet", environment=provider.environment(home, NOWHERE))
    return home
