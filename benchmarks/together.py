"""Rows in provider batches: what one costs this machine, beside one that is asked by a call of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.rows import n_rows
from benchmarks.serving import Provider, run, write_source

#: Both take turns, and the middle one counts.
_N_ROUNDS = 3


def measure_together(provider: Provider, folder: Path) -> Iterator[Figure]:
    """CPU a row of handing over, sending, reading and judging; of calls in the same minutes."""
    source = write_source(folder / "together.parquet", n_rows())
    apart, together = [], []
    for n in range(_N_ROUNDS):
        apart.append(run("engine", source, environment=provider.environment(folder / f"apart-{n}")))
        with _serving_batches() as url:
            environment = provider.environment(folder / f"together-{n}", url)
            together.append(run("batched", source, environment=environment))
    ms, beside = (median(cost.cpu_ms_a_row(n_rows()) for cost in costs) for costs in (together, apart))
    name = f"engine, in provider batches, {n_rows():,} rows"
    yield Figure(name, ms, "ms CPU a row", None, f"by calls, the same engine: {beside:.2f}")


@contextmanager
def _serving_batches() -> Iterator[str]:
    """A provider that takes batches, and has answered one when it is looked at for the second time."""
    command = [sys.executable, "-m", "tests.fakes.provider"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter
    try:
        yield (process.stdout.readline() if process.stdout else "").strip()
    finally:
        process.terminate()
        process.communicate()
