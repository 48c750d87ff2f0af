"""Rows asked for the first time: CPU a row beside its floor, and how full the slots of a slow provider are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, Goal
from benchmarks.meter import Cost
from benchmarks.rows import CONCURRENCY, DELAY_S, n_rows
from benchmarks.serving import Provider, run, write_source

#: The machine is noisy: engine and floor take turns, and the middle one counts.
_N_ROUNDS = 3
#: Rows for httpx, which takes long.
_SHARE_OF_HTTPX = 4


def measure_cold(provider: Provider, folder: Path) -> Iterator[Figure]:
    """CPU a row of the engine, of the same calls by aiohttp, and of the same by httpx alone."""
    source = write_source(folder / "rows.parquet", n_rows())
    rounds = [_run_round(provider, folder / f"cold-{n}", source) for n in range(_N_ROUNDS)]
    engine, floor = (median(cost.cpu_ms_a_row(n_rows()) for cost in costs) for costs in zip(*rounds, strict=True))
    ratio = median(a.cpu_s / b.cpu_s for a, b in rounds)
    start_s, floor_start_s = (median(cost.start_cpu_s for cost in costs) for costs in zip(*rounds, strict=True))
    httpx = _run_httpx(provider, folder)
    beside = f"floor, aiohttp by hand: {floor:.2f}; httpx alone, its own pool: {httpx:.1f}"
    yield Figure(f"engine, cold, {n_rows():,} rows", engine, "ms CPU a row", Goal(0.9), beside)
    yield Figure("the same over the floor", ratio, "times", Goal(2.0), f"each round's ratio, middle of {_N_ROUNDS}")
    yield Figure("engine, start-up (not in the figures)", start_s, "s CPU", None, f"floor: {floor_start_s:.2f} s")


def measure_efficiency(provider: Provider, folder: Path) -> Iterator[Figure]:
    """The least time that the calls can take over the time that they took."""
    floor = _find_efficiency(provider, "floor", folder / "none")
    engine = _find_efficiency(provider, "engine", folder / "slow", folder / "rows.parquet")
    name = f"engine, efficiency at {1000 * DELAY_S:.0f} ms, {CONCURRENCY} in flight"
    yield Figure(name, engine, "", Goal(0.92, at_least=True), f"floor, aiohttp by hand: {floor:.3f}")


def find_ideal_s(n: int) -> float:
    """How long n calls take where every slot is always taken."""
    return n / CONCURRENCY * DELAY_S


def _run_round(provider: Provider, home: Path, source: Path) -> tuple[Cost, Cost]:
    environment = provider.environment(home)
    return run("engine", source, environment=environment), run("floor", environment=environment)


def _run_httpx(provider: Provider, folder: Path) -> float:
    n = max(1, n_rows() // _SHARE_OF_HTTPX)
    environment = provider.environment(folder) | {"BENCH_ROWS": str(n)}
    return run("httpx_alone", environment=environment).cpu_ms_a_row(n)


def _find_efficiency(provider: Provider, name: str, home: Path, *arguments: Path) -> float:
    provider.take_counts()
    run(name, *arguments, environment=provider.environment(home, provider.slow_url))
    return find_ideal_s(n_rows()) / provider.take_counts().span_s
