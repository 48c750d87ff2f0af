"""`python -m benchmarks [--million]`: every figure beside its goal, and its floor or peer, as one table."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.again import measure_again, measure_changed, run_sizes
from benchmarks.cold import measure_cold, measure_efficiency
from benchmarks.crash import measure_crash
from benchmarks.figures import Figure, print_figures, print_head
from benchmarks.flow import measure_flow
from benchmarks.machines import leave_out_machines, measure_machines
from benchmarks.million import leave_out_million, measure_million
from benchmarks.peers.run import leave_out_peers, measure_peers
from benchmarks.rows import CONCURRENCY, n_rows
from benchmarks.serving import Provider, serving
from benchmarks.together import measure_together
from benchmarks.why import leave_out_why, measure_why


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The figures of the engine, each beside its goal.")
    parser.add_argument("--million", action="store_true", help="the figures of a million rows too")
    parser.add_argument("--peers", action="store_true", help="other libraries too, each in an environment of its own")
    parser.add_argument("--machines", action="store_true", help="several processes against one too")
    arguments = parser.parse_args()
    million = arguments.million or os.environ.get("BENCH_MILLION") == "1"
    peers = arguments.peers or os.environ.get("BENCH_PEERS") == "1"
    machines = arguments.machines or os.environ.get("BENCH_MACHINES") == "1"
    started = time.monotonic()
    print(f"{n_rows():,} rows of about 300 characters where a figure says nothing else, {CONCURRENCY} in flight\n")
    print_head()
    with serving() as provider, tempfile.TemporaryDirectory() as folder:
        figures = print_figures(_measure(provider, Path(folder), million=million, peers=peers, machines=machines))
    n_missed = sum(figure.verdict == "**missed**" for figure in figures)
    print(f"\n{n_missed} goals missed; measured in {time.monotonic() - started:.0f} s")


def _measure(provider: Provider, folder: Path, *, million: bool, peers: bool, machines: bool) -> Iterator[Figure]:
    yield from measure_cold(provider, folder)
    yield from measure_efficiency(provider, folder)
    yield from measure_together(provider, folder)
    sizes = run_sizes(provider, folder)
    yield from measure_again(sizes)
    yield from measure_million(provider, sizes.again) if million else leave_out_million()
    yield from measure_why(provider) if million else leave_out_why()
    yield from measure_changed(provider, folder)
    yield from measure_crash(provider, folder)
    yield from measure_flow(provider, folder / "flow", sizes.ms_a_row)
    yield from measure_machines(provider, folder / "machines") if machines else leave_out_machines()
    yield from measure_peers(provider) if peers else leave_out_peers()


if __name__ == "__main__":
    main()
