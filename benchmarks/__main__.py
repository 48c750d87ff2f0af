"""`python -m benchmarks`: each figure in a process of its own, against one fake provider, as a table."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from benchmarks.rows import CONCURRENCY, n_rows


@dataclass(frozen=True)
class Figure:
    """What one process cost."""

    cpu_s: float
    wall_s: float


def measure(module: str, environment: dict[str, str]) -> Figure:
    """Run a module as a process of its own; its CPU time is user and system, imports included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", module], env=os.environ | environment, check=True)  # noqa: S603 - our own interpreter
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Figure(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def main() -> None:
    """Measure and print."""
    provider = subprocess.Popen([sys.executable, "-m", "tests.fakes.provider"], stdout=subprocess.PIPE, text=True)
    try:
        line = provider.stdout.readline() if provider.stdout else ""
        found = re.search(r"http://\S+/v1", line)
        if not found:
            raise SystemExit(f"the fake provider said {line!r}")
        with tempfile.TemporaryDirectory() as home:
            environment = {
                "OPENAI_BASE_URL": found[0],
                "OVERNIGHT_HOME": home,
                "OVERNIGHT_CONCURRENCY": str(CONCURRENCY),
            }
            floor = measure("benchmarks.floor", environment)
            cold = measure("benchmarks.engine", environment)
            warm = measure("benchmarks.engine", environment)
    finally:
        provider.terminate()
        provider.wait()
    print(f"{n_rows():,} rows, {CONCURRENCY} calls in flight, a provider that answers at once; imports included\n")
    print("| what | CPU ms a row | wall s | times the floor's CPU |")
    print("|---|---|---|---|")
    for name, figure in (
        ("floor: aiohttp by hand, nothing kept", floor),
        ("engine, cold", cold),
        ("engine, all hits", warm),
    ):
        ratio = figure.cpu_s / floor.cpu_s
        print(f"| {name} | {1000 * figure.cpu_s / n_rows():.2f} | {figure.wall_s:.1f} | {ratio:.2f} |")


main()
