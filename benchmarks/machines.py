"""A flow in one process against the same flow on a Dask cluster, and against two processes by hand, on one machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.project import Project, serving_project
from benchmarks.rows import CONCURRENCY, DELAY_S, n_rows
from benchmarks.serving import Provider, write_source

#: Worker processes, or flows beside each other.
_N = 2


def measure_machines(provider: Provider, folder: Path) -> Iterator[Figure]:
    """
    Rows a second between the first call's arrival and the last answer, of several processes over those of one.

    The calls in flight of all together are the same; the ledger is one SQLite file.
    """
    folder.mkdir()
    source = write_source(folder / "rows.parquet", 2 * n_rows())
    # No text of one is in the other.
    halves = [write_source(folder / f"half-{n}.parquet", n_rows(), changed_every=n) for n in range(_N)]
    with serving_project(provider, folder / "project") as project:
        for delay_s, url in ((DELAY_S, provider.slow_url), (0.0, provider.url)):
            alone = _run(provider, project, [source], folder / f"alone-{delay_s}", url)
            dask = _run(provider, project, [source], folder / f"dask-{delay_s}", url, OVERNIGHT_DASK=f"local:{_N}")
            beside = _run(provider, project, halves, folder / f"beside-{delay_s}", url)
            what = f"at {1000 * delay_s:.0f} ms, {CONCURRENCY} in flight together"
            one = f"one process: {alone:,.0f} rows/s"
            yield Figure(f"{_N} Dask workers, {what}", dask / alone, "times one process", beside=one)
            yield Figure(f"{_N} flows on one ledger, {what}", beside / alone, "times one process", beside=one)


def _run(provider: Provider, project: Project, sources: list[Path], home: Path, url: str, **more: str) -> float:
    """Rows a second of flows over these sources, begun together."""
    environment = provider.environment(home, url) | more
    provider.take_counts()
    with ThreadPoolExecutor(len(sources)) as pool:
        list(pool.map(lambda source: project.run_flow(source, environment), sources))
    counts = provider.take_counts()
    return counts.n_calls / counts.span_s


def leave_out_machines() -> Iterator[Figure]:
    """The lines without figures."""
    yield Figure(f"{_N} processes against one", None, "", beside="`--machines` or BENCH_MACHINES=1")
