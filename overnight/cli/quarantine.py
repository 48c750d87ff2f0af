"""`overnight quarantine`: what a run set aside, by reason; and those rows asked again, with a release of their own."""

from __future__ import annotations

import click

from overnight.approve import find_continued
from overnight.cli.project import find_flow_module
from overnight.cli.run import start_flow
from overnight.cli.show import get_ledger, print_json
from overnight.deliver import describe_sink
from overnight.failures import OvernightError
from overnight.intake.quarantine import QuarantineSource
from overnight.ledger.queries import get_run
from overnight.report.quarantine import Quarantine, as_object, find_quarantine, render_quarantine
from overnight.settings import Settings

#: Rows that are named one by one.
_N_NAMED = 5


def show_quarantine(run_id: str | None, *, reason: str | None, by_row: bool, as_json: bool, show_private: bool) -> None:
    """Print what a run has quarantined."""
    settings = Settings.from_env()
    found = find_quarantine(
        run_id, ledger=get_ledger(settings), place=settings.parts, reason=reason, show_private=show_private
    )
    if as_json:
        print_json(as_object(found, by_row=by_row))
    else:
        click.echo(render_quarantine(found, by_row=by_row))


def retry_rows(
    run_id: str | None,
    *,
    reason: str | None,
    model: str | None,
    sink: str | None,
    budget: float | None,
    wait: bool,
    as_json: bool,
) -> int:
    """
    Ask a run's quarantined rows again, by its own flow; the exit code.

    Raises:
        OvernightError: No row is left to ask, or their release would take another's place at the sink.
    """
    if run_id is None:
        raise OvernightError("Say which run's rows are retried: overnight quarantine RUN --retry.")
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    found = find_quarantine(run_id, ledger=ledger, place=settings.parts, reason=reason)
    if not found.n_to_retry:
        raise OvernightError(
            f"Run {run_id} has no quarantined row to ask again{f' for {reason!r}' if reason else ''}. `overnight"
            f" quarantine {run_id}` says what stands there, and what to do."
        )
    with ledger.reading() as connection:
        run = get_run(connection, run_id)
    module = find_flow_module(run["flow"])
    given = {"source": str(QuarantineSource(run_id, reason)), "model": model, "sink": sink}
    parameters = run["parameters"] | {name: value for name, value in given.items() if value is not None}
    if parameters.get("sink"):
        # Before anything is started or paid for; a sink that is the flow's default is refused by the flow itself.
        find_continued(ledger, run_id, describe_sink(parameters["sink"], settings))
    _tell_left_out(found)
    return start_flow(module, parameters, limit=None, concurrency=None, budget=budget, wait=wait, as_json=as_json)


def _tell_left_out(found: Quarantine) -> None:
    left = [row.row_id for row in found.rows if not row.is_asked_again]
    if left:
        some = ", ".join(left[:_N_NAMED]) + (f" and {len(left) - _N_NAMED:,} more" if len(left) > _N_NAMED else "")
        click.echo(f"Left out: {some}. Intake set them aside; mend the source and run the flow on it.", err=True)
