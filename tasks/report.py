"""Reporting: what the run came to, as artifacts in the Prefect UI and as the flow's result."""

from __future__ import annotations

import time
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from overnight.ledger.queries import summarize
from overnight.records import CheckedBatch, Receipt, RunState, Summary
from overnight.report.brief import find_figures, name_columns
from overnight.report.measure import RunReport, escape_markdown, measure, render_markdown
from tasks.comparison import publish_comparison
from tasks.measure import measure_rest
from tasks.run import Run, current_run


def publish_report(checked: list[CheckedBatch], receipts: list[Receipt]) -> Summary:  # noqa: ARG001 - the report comes last: it takes what was checked and delivered
    """Record the run as released, write its report, and return its summary."""
    run = current_run()
    run.set_state(RunState.RELEASED)
    publish_artifacts(run)
    with run.ledger.reading() as connection:
        return summarize(connection, run.run_id, time.time())


def publish_artifacts(run: Run) -> RunReport:
    """The report in markdown, figures and reasons as tables, and a link to the Data Docs."""
    measure_rest(run)
    report = measure(run.run_id, ledger=run.ledger, place=run.settings.parts, now=time.time(), home=run.settings.home)
    create_markdown_artifact(render_markdown(report), key=f"report-{run.run_id}", description="What the run came to")
    if figures := _tell_figures(run):
        create_table_artifact(figures, key=f"figures-{run.run_id}", description="Figures of the run, beside others")
    if report.reasons:
        create_table_artifact(_table(report), key=f"quarantine-{run.run_id}", description="Rows set aside, by reason")
    if report.docs:
        create_link_artifact(report.docs.as_uri(), link_text="Data Docs", key=f"docs-{run.run_id}")
    publish_comparison(run)
    return report


def _tell_figures(run: Run) -> list[dict[str, Any]]:
    with run.ledger.reading() as connection:
        figures, compared_with = find_figures(connection, run.run_id)
    columns = name_columns(compared_with)
    return [{"figure": row.name} | dict(zip(columns, row.cells, strict=True)) for row in figures]


def _table(report: RunReport) -> list[dict[str, Any]]:
    return [
        {
            "state": r.state,
            "class": r.failure_class,
            "rule": r.rule,
            "rows": r.n_rows,
            "reason": escape_markdown(r.reason),
            "for example": ", ".join(escape_markdown(row_id) for row_id in r.examples),
        }
        for r in report.reasons
    ]
