"""The comparison of a run with its shadow, as an artifact: with rows once its review has ended."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from overnight.failures import OvernightError
from overnight.ledger.shadows import find_shadow, is_asked
from overnight.report.diff import Diff, compare
from overnight.report.diff_text import render_diff_markdown
from overnight.report.under_review import is_reviewed
from tasks.run import Run


def write_comparison(diff: Diff, run_id: str, shadow_id: str) -> None:
    """Write the artifact `shadow-RUN`."""
    description = f"Shadow run {shadow_id}: nothing of it is offered"
    create_markdown_artifact(render_diff_markdown(diff), key=f"shadow-{run_id}", description=description)


def publish_comparison(run: Run) -> None:
    """Write it with rows, where the run has a shadow that was asked and its own review has ended."""
    with run.ledger.reading() as connection:
        shadow = find_shadow(connection, run.run_id)
        if shadow is None or not is_asked(shadow) or not is_reviewed(connection, run.run_id):
            return
    try:
        diff = compare(run.run_id, shadow.run_id, ledger=run.ledger, place=run.settings.parts)
    except OvernightError as error:
        # The night's own rows are not to wait for it.
        get_run_logger().warning("Shadow run %s: its rows are not shown: %s", shadow.run_id, error)
        return
    write_comparison(diff, run.run_id, shadow.run_id)
