"""Measuring: what the steps of a run came to is kept, whichever way it ended."""

from __future__ import annotations

import time

from prefect.logging import get_run_logger

from overnight.failures import PartRefused, PlaceUnreachable
from overnight.ledger.measures import find_measures
from overnight.report.compared import compare_step
from overnight.report.kept import StepMeasures
from overnight.report.measuring import list_asked_steps
from tasks.run import Run


def measure_checked(step: int, run: Run) -> StepMeasures:
    """Measure a step all of whose batches are checked, compare it with the last approved night, and keep both."""
    return compare_step(run.run_id, step, ledger=run.ledger, place=run.settings.parts, now=time.time())


def measure_rest(run: Run) -> None:
    """Measure the steps that a run ended in before they were checked; what was measured before stays."""
    with run.ledger.reading() as connection:
        steps = list_asked_steps(connection, run.run_id)
        known = find_measures(connection, run.run_id)
    for step, is_whole in steps.items():
        if step in known and is_whole:
            continue
        try:
            compare_step(run.run_id, step, ledger=run.ledger, place=run.settings.parts, now=time.time(), is_whole=False)
        except (PartRefused, PlaceUnreachable) as error:
            get_run_logger().warning("Step %d is not measured: %s", step, error)
