"""Rows asked before: nothing is called for them, and memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Goal
from benchmarks.meter import Cost
from benchmarks.rows import n_rows
from benchmarks.serving import Provider, run, write_source

#: The larger size, in times the smaller one.
TIMES = 10
_CHANGED_EVERY = 100


@dataclass(frozen=True)
class Sizes:
    """The engine at two sizes, cold, and the larger one again."""

    small: Cost
    large: Cost
    again: Cost

    @property
    def ms_a_row(self) -> float:
        """CPU of one more row."""
        return 1000 * (self.large.cpu_s - self.small.cpu_s) / ((TIMES - 1) * n_rows())


def run_sizes(provider: Provider, folder: Path) -> Sizes:
    """Cold with few rows, cold with many, and the many once more, which must call nobody."""
    few = write_source(folder / "few.parquet", n_rows())
    many = write_source(folder / "many.parquet", TIMES * n_rows())
    small = run("engine", few, environment=provider.environment(folder / "few"))
    large = run("engine", many, environment=provider.environment(folder / "many"))
    provider.take_counts()
    again = run("engine", many, environment=provider.environment(folder / "many"))
    if calls := provider.take_counts().n_calls:
        raise SystemExit(f"An identical rerun made {calls} calls.")
    return Sizes(small, large, again)


def measure_again(sizes: Sizes) -> Iterator[Figure]:
    """The identical rerun, and memory."""
    n = TIMES * n_rows()
    imports = f"0 calls; {sizes.again.cpu_s:.2f} s CPU; start-up {sizes.again.start_cpu_s:.1f} s CPU"
    yield Figure(f"identical rerun, {n:,} rows, engine", sizes.again.wall_s, "s", Goal(0.6), imports)
    grown = sizes.large.peak_mb - sizes.small.peak_mb
    beside = f"peak {sizes.small.peak_mb:.0f} MB, then {sizes.large.peak_mb:.0f} MB"
    yield Figure(f"memory, cold: {n:,} rows over {n_rows():,}", grown, "MB", Goal(100), beside)


def measure_changed(provider: Provider, folder: Path) -> Iterator[Figure]:
    """Some rows of a source changed: as many calls as there are such rows, all different, and every row accepted."""
    changed = write_source(folder / "changed.parquet", n_rows(), _CHANGED_EVERY)
    provider.take_counts()
    run("engine", changed, environment=provider.environment(folder / "few"))
    counts, wanted = provider.take_counts(), n_rows() // _CHANGED_EVERY
    wrong = abs(counts.n_calls - wanted) + counts.n_calls - counts.n_distinct
    yield Figure(
        "1 % of rows changed: calls too many or too few", wrong, "", Goal(0), f"{wanted} rows, {counts.n_calls} calls"
    )
