"""What is held before anybody is asked to review it: a failed batch rule, too many rows set aside, drift."""

from __future__ import annotations

from overnight.checks import find_excess, parse_checks
from overnight.complete import count_left
from overnight.ledger.manifests import find_batches
from overnight.llm import parse_model
from overnight.records import Batch, CheckedBatch, RunState
from overnight.report.kept import StepMeasures
from tasks.measure import measure_checked
from tasks.nightly import RunEnded
from tasks.out import find_elsewhere
from tasks.run import Run

#: Changes that the message names; the report has them all.
_N_NAMED = 3


def hold_on_failures(checked: list[CheckedBatch], run: Run) -> None:
    """
    Let the batches of a step go on only where they are worth a person's time.

    Raises:
        RunEnded: They are not.
    """
    measures = measure_checked(checked[0].step, run)
    failures = [line for batch in checked for line in batch.batch_failures]
    if failures:
        line = (
            f"Run {run.run_id} is held, {len(failures)} rules of a batch failed: {failures[0]} Read its Data Docs, mend"
            " the prompt or the checks and run the flow again: unchanged answers are hits."
        )
        raise RunEnded(RunState.HELD, line, failed=True)
    if not any(batch.n_accepted for batch in checked):
        n_pending = sum(batch.n_pending for batch in checked)
        if elsewhere := find_elsewhere(checked, run):
            raise RunEnded(RunState.HALTED, elsewhere, failed=True)
        line = (
            f"Run {run.run_id} has no accepted row ({n_pending} pending, the others quarantined). Read the reasons in"
            " its report, mend the cause and run the flow again."
        )
        raise RunEnded(RunState.HALTED if n_pending else RunState.HELD, line, failed=True)
    _hold_on_share(checked, run)
    _hold_on_drift(measures, run)


def _hold_on_share(checked: list[CheckedBatch], run: Run) -> None:
    """Rows that intake set aside are the source's; the share is over those that were answered."""
    prompt = run.find_prompt(checked[0].prompt_hash)
    checks = parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code)
    limit = checks.max_quarantined_of(parse_model(prompt.model).provider == "local")
    # All rows of a retry were set aside before: how many stay so says nothing of the prompt.
    if limit is None or run.find_retry():
        return
    with run.ledger.reading() as connection:
        given = find_batches(connection, run.run_id, Batch, step=checked[0].step)
    n_quarantined = sum(batch.n_quarantined for batch in checked) - sum(batch.n_quarantined for batch in given)
    # A retry has offered these: they are its reviewer's to judge.
    n_quarantined -= count_left(checked, run.find_left() | run.find_lost(), run.settings.parts)
    n_answered = n_quarantined + sum(batch.n_accepted for batch in checked)
    least = find_excess(n_quarantined, n_answered, limit)
    if least is not None:
        line = (
            f"Run {run.run_id} is held: {n_quarantined:,} of {n_answered:,} answered rows are quarantined, over"
            f" {least:.1%} of such rows with 95 % confidence, and prompt {prompt.name} allows {limit:.1%}. Read the"
            " reasons in its report and mend the prompt, or raise max_quarantined in checks.json; run the flow again."
        )
        raise RunEnded(RunState.HELD, line, failed=True)


def _hold_on_drift(measures: StepMeasures, run: Run) -> None:
    held = [change for change in measures.changes if change.severity == "hold"]
    if not held:
        return
    named = "; ".join(change.words for change in held[:_N_NAMED])
    more = f"; and {len(held) - _N_NAMED} more" if len(held) > _N_NAMED else ""
    line = (
        f"Run {run.run_id} is held: it differs from run {measures.compared_with} by more than checks.json of prompt"
        f" {measures.figures.prompt_name} allows: {named}{more}. Read its report and mend the cause; or, where the"
        f' change is wanted, write "drift_since": "{run.run_id}" into checks.json. Run the flow again: unchanged'
        " answers are hits."
    )
    raise RunEnded(RunState.HELD, line, failed=True)
