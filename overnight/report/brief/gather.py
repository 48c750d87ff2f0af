"""Gathering a run's brief from the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.ledger.measures import Measures, find_measures
from overnight.ledger.promises import list_outbox
from overnight.ledger.queries import get_run
from overnight.place import PartsPlace
from overnight.report.brief.model import Brief, Changed, FigureRow
from overnight.report.brief.nights import list_figures, list_nights, list_plots
from overnight.report.brief.plots import Plot
from overnight.report.brief.reading import find_rows
from overnight.report.kept import StepMeasures, describe_change, read_measures
from overnight.report.measure import measure
from overnight.report.waiting import list_waits

#: Deliveries that are looked through, the newest first.
_N_DELIVERIES = 200


def gather_brief(run_id: str, *, ledger: Ledger, place: PartsPlace, now: float) -> Brief:
    """
    Everything that the brief of a run says.

    Raises:
        OvernightError: There is no such run.
    """
    with ledger.reading() as connection:
        run = get_run(connection, run_id)
        steps = [read_measures(kept) for kept in find_measures(connection, run_id).values()]
        figures, plots = _compare(connection, steps, run)
        waits = tuple(list_waits(connection))
        deliveries = _count_deliveries(connection, run_id)
    rows, note = find_rows(run_id, ledger=ledger, place=place)
    return Brief(
        run_id=run_id,
        flow=run["flow"],
        kind=run["kind"],
        state=run["state"],
        reason=run["reason"],
        started_at=run["started_at"],
        report=measure(run_id, ledger=ledger, place=place, now=now),
        waits=waits,
        compared_with=next((s.compared_with for s in reversed(steps) if s.compared_with), None),
        changes=tuple(
            Changed(describe_change(change), change.severity, step.figures.prompt_name)
            for step in steps
            for change in step.changes
        ),
        figures=figures,
        plots=plots,
        rows=rows,
        rows_note=note,
        deliveries=deliveries,
        versions=tuple(_describe_version(step) for step in steps),
        made_at=now,
    )


def find_figures(connection: sa.Connection, run_id: str) -> tuple[tuple[FigureRow, ...], str | None]:
    """The figures of a run's last step beside those of other nights, and the run that it was compared with."""
    steps = [read_measures(kept) for kept in find_measures(connection, run_id).values()]
    figures, _ = _compare(connection, steps, get_run(connection, run_id), draws=False)
    return figures, steps[-1].compared_with if steps else None


def _compare(
    connection: sa.Connection, steps: list[StepMeasures], run: Mapping[str, Any], *, draws: bool = True
) -> tuple[tuple[FigureRow, ...], tuple[Plot, ...]]:
    """Of the last step: what leaves is its answers."""
    if not steps:
        return (), ()
    last = steps[-1]
    nights = list_nights(connection, last.figures.prompt_name, run)
    before = _find_before(connection, last)
    figures = list_figures(last.figures, before.figures if before else None, nights)
    return tuple(figures), tuple(list_plots(connection, nights)) if draws else ()


def _find_before(connection: sa.Connection, step: StepMeasures) -> StepMeasures | None:
    kept: list[Measures] = list(find_measures(connection, step.compared_with).values()) if step.compared_with else []
    return next((read_measures(m) for m in kept if m.prompt_name == step.figures.prompt_name), None)


def _count_deliveries(connection: sa.Connection, run_id: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for sent in list_outbox(connection, _N_DELIVERIES):
        counts.update(sent["rows"] if sent["run_id"] == run_id else {})
    return counts


def _describe_version(step: StepMeasures) -> str:
    f = step.figures
    served = ", ".join(f"`{model}` {n:,} times" for model, n in sorted(f.calls_by_model.items()))
    asked = f"Prompt {f.prompt_name}, version `{f.prompt_hash[:12]}`, asked of `{f.model}`"
    return f"{asked}; answered by {served}." if served else f"{asked}; nobody was called."
