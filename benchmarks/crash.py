"""An engine that is killed while calls are in flight: only those may be sent again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, Goal
from benchmarks.rows import CONCURRENCY, n_rows
from benchmarks.serving import Provider, make_command, run, write_source

#: It is killed when this share of the rows has been called.
_KILLED_AT = 0.4
_LOOK_EVERY_S = 0.02
#: What the killed process had claimed is waited for so long: it decides nothing but how long this takes.
_LEASE_S = 5


def measure_crash(provider: Provider, folder: Path) -> Iterator[Figure]:
    """Kill it, run it again, and count the calls that were made twice."""
    source = write_source(folder / "crash.parquet", n_rows())
    environment = provider.environment(folder / "crash", provider.slow_url) | {"OVERNIGHT_LEASE_S": str(_LEASE_S)}
    provider.take_counts()
    n_before = _kill_on_the_way(provider, source, environment)
    run("engine", source, environment=environment)
    counts = provider.take_counts()
    if counts.n_distinct != n_rows():
        raise SystemExit(f"{counts.n_distinct} of {n_rows()} rows were called.")
    name = f"kill -9 at {CONCURRENCY} in flight, rerun: calls sent twice"
    beside = f"{n_before:,} calls before, {counts.n_calls:,} in all"
    yield Figure(name, counts.n_calls - counts.n_distinct, "", Goal(CONCURRENCY), beside)


def _kill_on_the_way(provider: Provider, source: Path, environment: dict[str, str]) -> int:
    process = subprocess.Popen(make_command("engine", source), env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 - our own interpreter
    try:
        while provider.read_counts().n_calls < _KILLED_AT * n_rows():
            if process.poll() is not None:
                raise SystemExit("The engine ended before it was killed.")
            time.sleep(_LOOK_EVERY_S)
    finally:
        process.kill()
        process.wait()
    return provider.read_counts().n_calls
