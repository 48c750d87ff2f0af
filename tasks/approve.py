"""The gate: a release is offered, somebody is asked, and the flow goes on only with a recorded approval."""

from __future__ import annotations

import functools
import time
from typing import Any

import pydantic
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import FlowPauseTimeout, ObjectNotFound
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger

from overnight.approve import decide, find_held, find_standing, offer_release, parse_answers, read_form, record_refusal
from overnight.deliver import describe_sink
from overnight.failpoints import reach
from overnight.failures import ReviewRefused
from overnight.records import Approval, CheckedBatch, Release, RunState, SinkFacts
from tasks.form import describe_release, make_form
from tasks.hold import hold_on_failures
from tasks.nightly import RunEnded
from tasks.plan import find_planning
from tasks.report import publish_artifacts
from tasks.run import Run, current_run

#: How often a run that waits beside somebody looks whether they have decided.
_POLL_S = 2


def ask_approval(checked: list[CheckedBatch], sink: str) -> Approval:
    """
    The recorded approval of this run's rows for this sink: one that stands already, or a person's, asked for now.

    A deployed flow suspends until the form is filled in; a run by hand pauses beside the
    person who waits, or ends here and is continued by `overnight review`.

    Raises:
        RunEnded: The run waits, is held, or was rejected.
        SinkRefused: The sink's address is not one that may be written to.
    """
    if planning := find_planning():
        return planning.ask_approval()
    run = current_run()
    run.refuse_if_stopped()
    if not checked:
        raise RunEnded(RunState.RELEASED, f"Run {run.run_id} has no row for its last step: nothing to release.")
    facts = describe_sink(sink, run.settings)
    standing = find_standing(run.ledger, run.run_id, facts.name, now=time.time())
    held_of = find_held(run.ledger, run.run_id, facts.name) if run.settings.offers_held else None
    if standing is None or held_of:
        hold_on_failures(checked, run)
        standing = _ask(checked, facts, run, held_of)
    if isinstance(standing, Approval):
        run.set_state(RunState.RUNNING)
        return standing
    raise RunEnded(
        standing,
        f"Run {run.run_id} was {standing} by its reviewer: nothing leaves. `overnight why ROW` has the verdicts.",
    )


def _ask(checked: list[CheckedBatch], sink: SinkFacts, run: Run, held_of: Release | None) -> Approval | RunState:
    prompt = run.find_prompt(checked[0].prompt_hash)
    release = offer_release(
        checked,
        run_id=run.run_id,
        sink=sink,
        prompt=prompt,
        ledger=run.ledger,
        home=run.settings.home,
        now=time.time(),
        held_of=held_of,
    )
    reach("after-offered")
    while True:
        answers = _read_answers(_ring(release, run))
        try:
            return decide(
                release,
                parse_answers(answers),
                channel="form",
                ledger=run.ledger,
                key_file=run.settings.approval_key,
                approval_s=run.settings.approval_s,
                now=time.time(),
            )
        except ReviewRefused as error:
            standing = find_standing(run.ledger, run.run_id, sink.name, now=time.time())
            if standing is not None:
                return standing
            get_run_logger().warning("Refused: %s", error)
            record_refusal(release, answers, error, ledger=run.ledger, now=time.time())
            release = run.reload_release(release)


def _ring(release: Release, run: Run) -> RunInput | None:
    """Tell people, and wait: the form as it was filled in, or None where the run was forced on without it."""
    how = f"overnight review {run.run_id}"
    run.set_state(RunState.WAITING)
    create_markdown_artifact(describe_release(release), key=f"review-{run.run_id}", description=f"Waits: {how}")
    get_run_logger().info("Release %s waits for a person: resume this run here, or `%s`", release.release_id, how)
    if not run.deployed and not run.settings.wait:
        line = (
            f"Accepted rows that wait for a person: {release.n_rows:,}. `{how}` shows what to read and takes"
            f" verdicts; rows marked correct then go to {release.sink}, and nothing leaves before."
        )
        raise RunEnded(RunState.WAITING, line)
    publish_artifacts(run)
    wait: Any = suspend_flow_run if run.deployed else functools.partial(pause_flow_run, poll_interval=_POLL_S)
    try:
        form: RunInput = wait(
            wait_for_input=make_form(release),
            key=f"release-{release.digest}-{release.round}",
            timeout=int(run.settings.waits_s),
        )
    except (pydantic.ValidationError, ObjectNotFound):
        # The state was forced on: there is no form. The doorbell is not the lock, so it rings again.
        return None
    except FlowPauseTimeout:
        raise RunEnded(RunState.WAITING, f"Nobody decided in time; `{how}` still takes the verdicts.") from None
    else:
        return form


def _read_answers(form: RunInput | None) -> dict[str, object]:
    return {"reason": "the run was forced on without answers"} if form is None else read_form(form.model_dump())
