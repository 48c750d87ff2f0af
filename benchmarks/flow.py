"""The same rows through a whole flow, by `overnight run` and a Prefect server, and what short commands cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.cold import find_ideal_s
from benchmarks.figures import Figure, Goal
from benchmarks.project import Project, serving_project
from benchmarks.rows import CONCURRENCY, DELAY_S, n_rows
from benchmarks.serving import Provider, write_source

#: The larger of two flows, in times the smaller one: the difference between them has no start-up in it.
_TIMES = 5
_N_ROUNDS = 3


def measure_flow(provider: Provider, folder: Path, engine_ms_a_row: float) -> Iterator[Figure]:
    """Efficiency and CPU a row of flows, then the commands in what a flow has left."""
    folder.mkdir()
    few = write_source(folder / "few.parquet", n_rows())
    many = write_source(folder / "many.parquet", _TIMES * n_rows())
    with serving_project(provider, folder / "project") as project:
        yield _measure_efficiency(provider, project, few)
        small = project.run_flow(few, provider.environment(folder / "few"))
        large = project.run_flow(many, provider.environment(folder / "many"))
        flow_ms = 1000 * (large - small) / ((_TIMES - 1) * n_rows())
        beside = f"flow {flow_ms:.2f}, engine {engine_ms_a_row:.2f}; a run's start-up "
        beside += f"{small - flow_ms * n_rows() / 1000:.1f} s CPU; Prefect's server counts"
        yield Figure("through Prefect, over the engine", flow_ms - engine_ms_a_row, "ms CPU a row", Goal(1.0), beside)
        yield from _measure_commands(provider, project, folder / "few")


def _measure_efficiency(provider: Provider, project: Project, source: Path) -> Figure:
    environment = provider.environment(project.folder.parent / "slow", provider.slow_url)
    provider.take_counts()
    project.run_flow(source, environment)
    efficiency = find_ideal_s(n_rows()) / provider.take_counts().span_s
    name = f"whole flow, efficiency at {1000 * DELAY_S:.0f} ms, {CONCURRENCY} in flight"
    return Figure(name, efficiency, "", Goal(0.9, at_least=True), "from the first call's arrival to the last answer")


def _measure_commands(provider: Provider, project: Project, home: Path) -> Iterator[Figure]:
    environment = provider.environment(home)
    nothing = median(project.run_python("-c", "pass", environment=environment).cpu_s for _ in range(_N_ROUNDS))
    for name, arguments, bound in (("--help", ("--help",), 0.5), ("why ROW", ("why", "7"), 1.0)):
        spent = median(project.run_command(*arguments, environment=environment).cpu_s for _ in range(_N_ROUNDS))
        yield Figure(
            f"`overnight {name}`", spent, "s CPU", Goal(bound), f"an interpreter that does nothing: {nothing:.2f}"
        )
