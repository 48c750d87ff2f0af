"""The gate: a release is offered, somebody is asked, and the flow goes on only with a recorded approval."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prefect.logging import get_run_logger

from overnight.approve import (
    Answers,
    complete_policy,
    decide,
    find_continued,
    find_held,
    find_retried_before,
    find_standing,
    offer_release,
    open_round,
    parse_answers,
    read_form,
    record_refusal,
)
from overnight.approve.form import ELSEWHERE
from overnight.deliver import describe_sink
from overnight.failpoints import reach
from overnight.failures import ReviewRefused
from overnight.records import Approval, CheckedBatch, Release, ReviewPolicy, RunState, SinkFacts
from tasks.doorbell import ring
from tasks.hold import hold_on_failures
from tasks.nightly import RunEnded
from tasks.plan import find_planning
from tasks.run import Run, current_run
from tasks.shadow import ask_shadow


def ask_approval(checked: list[CheckedBatch], sink: str, policy: ReviewPolicy | None = None) -> Approval:
    """
    The recorded approval of this run's rows for this sink: one that stands already, or people's, asked for now.

    A deployed flow suspends until the form is filled in; a run by hand pauses beside the
    person who waits, or ends here and is continued by `overnight review`.

    Args:
        checked: What the check step returned.
        sink: Where the rows would go.
        policy: How much of them has to be read; by default what the sink's effect asks for.

    Raises:
        RunEnded: The run waits, is held, or was rejected.
        SinkRefused: The sink's address is not one that may be written to.
        OvernightError: The policy is none.
    """
    if planning := find_planning():
        return planning.ask_approval()
    run = current_run()
    run.refuse_if_stopped()
    if not checked:
        raise RunEnded(RunState.RELEASED, f"Run {run.run_id} has no row for its last step: nothing to release.")
    ask_shadow(run)
    facts = describe_sink(sink, run.settings)
    standing = find_standing(run.ledger, run.run_id, facts.name, now=time.time())
    held_of = find_held(run.ledger, run.run_id, facts.name) if run.settings.offers_held else None
    if standing is None or held_of:
        hold_on_failures(checked, run)
        continues = None if held_of else _find_continued(run, facts)
        standing = _ask(_offer(checked, facts, policy, run, held_of=held_of, continues=continues), run)
    if isinstance(standing, Approval):
        run.set_state(RunState.RUNNING)
        return standing
    raise RunEnded(
        standing,
        f"Run {run.run_id} was {standing} by its reviewer: nothing leaves. `overnight why ROW` has the verdicts.",
    )


def _find_continued(run: Run, sink: SinkFacts) -> str | None:
    """What the release joins at a sink that holds one: a retry what its family has there, a night what a retry has."""
    if retry := run.find_retry():
        return find_continued(run.ledger, retry.of_run, sink, run_id=run.run_id)
    return find_retried_before(run.ledger, run.run_id, sink)


def _offer(
    checked: list[CheckedBatch],
    sink: SinkFacts,
    policy: ReviewPolicy | None,
    run: Run,
    *,
    held_of: Release | None,
    continues: str | None,
) -> Release:
    settings = run.settings
    release = offer_release(
        checked,
        run_id=run.run_id,
        sink=sink,
        prompt=run.find_prompt(checked[0].prompt_hash),
        ledger=run.ledger,
        place=settings.parts,
        policy=complete_policy(policy, sink.effect, waits_s=settings.waits_s, approval_s=settings.approval_s),
        now=time.time(),
        held_of=held_of,
        continues=continues,
    )
    reach("after-offered")
    return release


def _ask(release: Release, run: Run) -> Approval | RunState:
    """Ring until a decision stands: each answer that decides nothing is a round, and the next rings anew."""
    while True:
        given = ring(release, run)
        answers: Mapping[str, Any] = {"reason": "the run was forced on without answers"}
        try:
            answers = read_form(given.form) if given.form else answers
            decision = decide(
                release,
                parse_form(answers, release),
                channel="form",
                ledger=run.ledger,
                key_file=run.settings.approval_key,
                now=time.time(),
                submitted_at=given.at,
            )
        except ReviewRefused as error:
            standing = find_standing(run.ledger, run.run_id, release.sink, now=time.time())
            if standing is not None:
                return standing
            get_run_logger().warning("Refused: %s", error)
            record_refusal(release, dict(answers), error, ledger=run.ledger, now=time.time())
        else:
            if decision.is_final:
                return decision.approval or RunState(decision.outcome)
            get_run_logger().warning("Another round: %s", decision.words)
        release = open_round(run.reload_release(release), ledger=run.ledger, place=run.settings.parts, now=time.time())


def parse_form(answers: Mapping[str, Any], release: Release) -> Answers:
    """
    What was answered in a form.

    Raises:
        ReviewRefused: The fields do not fit, or it only says that a decision was taken which is not recorded.
    """
    if answers.get("decision") == ELSEWHERE:
        raise ReviewRefused(
            f"Release {release.release_id} is said to be reviewed elsewhere, and the ledger has no decision on it. Read"
            f" it first: `overnight review {release.run_id} --web`."
        )
    return parse_answers(dict(answers))
