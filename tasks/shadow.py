"""Shadowing: another prompt is asked a sample of the night's rows; what it says is compared, and goes nowhere."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from prefect.logging import get_run_logger

from overnight.complete import get_engine
from overnight.complete.shadow import ask_sample, draw_sample, load_shadow
from overnight.ledger import open_ledger
from overnight.ledger.manifests import find_batches, record_batches
from overnight.ledger.queries import summarize
from overnight.ledger.shadows import begin_shadow, end_shadow, find_shadow, is_asked, name_shadow, open_shadow
from overnight.records import Batch, Prompt, RunState
from overnight.report.diff import compare
from overnight.report.shadow import tell_shadow
from overnight.report.under_review import tell_withheld
from overnight.settings import Settings
from tasks.comparison import write_comparison
from tasks.nightly import batch_task
from tasks.plan import find_planning
from tasks.run import Run, current_run, find_pinned, refuse_unfit_checks


def shadow_batches(batches: list[Batch], prompt: Prompt, shadow: str | None) -> None:
    """
    Choose rows that a second prompt is asked too: compared with the first one's answers, and never offered.

    Call it before `complete_batches`: what is wrong with the second prompt is refused before anything is paid. The
    sample is asked when the night's own rows are checked, right before somebody is asked to review them.

    Args:
        batches: The rows of a step.
        prompt: The prompt that is asked all of them.
        shadow: The name of a prompt's folder, or NAME@PROVIDER:MODEL; None: nothing is shadowed.

    Raises:
        OvernightError: The second prompt is not there, or cannot be asked these rows.
    """
    # A plan leaves it out: it costs no more than its own budget.
    if not shadow or not batches or find_planning():
        return
    run = current_run()
    with run.ledger.reading() as connection:
        if find_shadow(connection, run.run_id):
            return
    settings = run.settings
    second = load_shadow(shadow, prompt, settings)
    refuse_unfit_checks(second)
    sample = draw_sample(batches, settings.shadow_rows, settings.parts)
    bounds = {
        "shadow": shadow,
        "rows": settings.shadow_rows,
        "budget_usd": settings.shadow_budget_usd,
        "time_s": settings.shadow_s,
    }
    run.ledger.write(
        lambda connection: open_shadow(
            connection, run.run_id, flow=run.flow, prompt=second, sample=sample, parameters=bounds, now=time.time()
        )
    )


def ask_shadow(run: Run) -> None:
    """Ask the run's shadow, where it has one that was not asked yet; whatever comes of that, the night goes on."""
    with run.ledger.reading() as connection:
        shadow = find_shadow(connection, run.run_id)
    if shadow is None or is_asked(shadow):
        return
    asking: Any = ask_shadow_rows.submit(run.run_id)
    asking.wait()
    if asking.state.is_completed():
        return
    line = f"It failed: {asking.state.message}"
    run.ledger.write(lambda connection: end_shadow(connection, shadow.run_id, RunState.HALTED, line, time.time()))
    get_run_logger().warning("Shadow run %s: %s", shadow.run_id, line)


@batch_task(name="ask-shadow", task_run_name="shadow-{run_id}")
def ask_shadow_rows(run_id: str) -> None:
    """Ask the pinned sample, compare the answers with the run's, and say in a line what came of it."""
    settings = Settings.from_env()
    ledger, shadow_id = open_ledger(settings.ledger_url), name_shadow(run_id)
    with ledger.reading() as connection:
        shadow, [sample] = find_shadow(connection, run_id), find_batches(connection, shadow_id, Batch)
    assert shadow is not None, "it is opened before it is asked"  # noqa: S101 - narrows the type
    prompt = find_pinned(ledger, shadow_id, shadow.parameters["shadow"].partition("@")[0])
    assert prompt is not None, "it is pinned with its shadow"  # noqa: S101 - the same
    ledger.write(lambda connection: begin_shadow(connection, shadow_id, time.time()))
    completed, halted = ask_sample(
        sample,
        prompt,
        run_id=shadow_id,
        budget_usd=shadow.parameters["budget_usd"],
        time_s=shadow.parameters["time_s"],
        engine=get_engine(settings),
    )
    ledger.write(lambda connection: record_batches(connection, shadow_id, [completed]))
    diff = compare(run_id, shadow_id, ledger=ledger, place=settings.parts, limit=0)
    with ledger.reading() as connection:
        line = tell_shadow(diff, summarize(connection, shadow_id, time.time()), halted)
    state = RunState.HALTED if halted else RunState.COMPARED
    ledger.write(lambda connection: end_shadow(connection, shadow_id, state, line, time.time()))
    # The run's own rows are about to be offered.
    write_comparison(replace(diff, withheld=tell_withheld(run_id)), run_id, shadow_id)
    if halted:
        get_run_logger().warning("Shadow run %s: %s", shadow_id, line)
    else:
        get_run_logger().info("Shadow run %s: %s", shadow_id, line)
