"""`overnight review`: the same reading as the form's, in the terminal or from a file, and the run goes on."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from overnight.approve import Answers, Decision, find_standing, open_round, parse_answers
from overnight.cli.desk import Desk
from overnight.cli.resume import offer_held, resume_run
from overnight.cli.show import get_ledger, print_json
from overnight.failures import OvernightError, ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.queries import get_run, list_runs
from overnight.ledger.releases import find_release
from overnight.records import Approval, Release, RunState
from overnight.settings import Settings


def review_run(
    run_id: str | None,
    *,
    answers: Path | None,
    reviewer: str | None,
    code: str | None,
    held: bool,
    web: bool,
    as_json: bool,
) -> int:
    """Review what waits and continue the run; the exit code."""
    if web:
        _refuse_beside_page(answers, code)
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    if held:
        if run_id is None:
            raise OvernightError("Say which run's held rows are offered: overnight review RUN --held.")
        if code_of_flow := offer_held(run_id):
            return code_of_flow
    run_id = run_id or _find_waiting(ledger)
    release = _get_release(run_id, ledger)
    standing = find_standing(ledger, run_id, release.sink, now=time.time())
    if standing is None:
        release = open_round(release, ledger=ledger, place=settings.parts, now=time.time())
    desk = Desk(settings, ledger)
    if answers is None and as_json:
        print_json(_to_read(release, demands_code=desk.demands_code(release)))
        return 0
    if standing is not None:
        _refuse_second(release, standing, answers)
        return _go_on(release, describe_standing(standing), as_json=as_json)
    if web:
        from overnight.cli.web import serve_review  # noqa: PLC0415 - late: a web server is not always needed

        return serve_review(release, settings, ledger, reviewer=reviewer)
    if answers:
        decision = desk.decide(release, _read_file(answers, reviewer, code), channel="file")
        return _go_on_from(decision, release, as_json=as_json)
    return _go_on_from(_read_in_terminal(desk, release, reviewer, code), release, as_json=as_json)


def _refuse_beside_page(answers: Path | None, code: str | None) -> None:
    if answers is not None:
        raise ReviewRefused("Verdicts are given on the page or in a file, not both. Leave out --web or --answers.")
    if code:
        raise ReviewRefused(
            "A code is typed into the page once all is read: one given now would be too old by then. Leave out --code."
        )


def _read_in_terminal(desk: Desk, release: Release, reviewer: str | None, code: str | None) -> Decision:
    if not sys.stdin.isatty():
        raise ReviewRefused(
            f"Run {release.run_id} waits for verdicts on {len(release.items)} items. Run `overnight review` in a"
            " terminal or with --web, or print them with --json and give --answers FILE."
        )
    from overnight.cli.sitting import sit_down  # noqa: PLC0415 - late: the page comes with it
    from overnight.cli.terminal import read_in_terminal  # noqa: PLC0415 - the same

    review = sit_down(release, desk.settings, desk.ledger, channel="terminal", reviewer=reviewer)
    return read_in_terminal(review, reviewer=reviewer, code=code)


def _go_on_from(decision: Decision, release: Release, *, as_json: bool) -> int:
    if decision.is_final:
        return _go_on(release, decision.words, as_json=as_json)
    again = f"Go on: `overnight review {release.run_id}`."
    if decision.outcome == "second":
        click.echo(f"{decision.words} {again}", err=True)
        return 0
    raise ReviewRefused(f"{decision.words} {again}")


def describe_standing(standing: Approval | RunState) -> str:
    """What was decided before."""
    if isinstance(standing, Approval):
        n, n_held = standing.n_allowed, standing.n_held
        return f"Approved by {standing.reviewer}: {n:,} rows may leave, {n_held:,} are held."
    return f"{standing.capitalize()}: nothing leaves."


def _refuse_second(release: Release, standing: Approval | RunState, answers: Path | None) -> None:
    if answers is not None:
        decided = f"approved by {standing.reviewer}" if isinstance(standing, Approval) else standing
        raise ReviewRefused(
            f"Run {release.run_id} was {decided} already, and these answers are not taken. To continue it as decided,"
            f" run `overnight review {release.run_id}` without answers."
        )


def _go_on(release: Release, words: str, *, as_json: bool) -> int:
    click.echo(f"{words} The decision on run {release.run_id} is recorded.", err=True)
    return resume_run(release.run_id, release, as_json=as_json)


def _find_waiting(ledger: Ledger) -> str:
    with ledger.reading() as connection:
        waiting = [run["run_id"] for run in list_runs(connection, 50, states=[RunState.WAITING])]
    if not waiting:
        raise OvernightError("No run waits for a review. `overnight runs` shows where each run stands.")
    if len(waiting) > 1:
        click.echo(f"{len(waiting)} runs wait; this is the newest. The others: {', '.join(waiting[1:])}.", err=True)
    return str(waiting[0])


def _get_release(run_id: str, ledger: Ledger) -> Release:
    with ledger.reading() as connection:
        state = get_run(connection, run_id)["state"]
        release = find_release(connection, run_id)
    if release is None:
        raise OvernightError(f"Run {run_id} has nothing to review: it is {state}. `overnight runs` says why.")
    return release


def _to_read(release: Release, *, demands_code: bool) -> dict[str, Any]:
    return {
        "run_id": release.run_id,
        "release": release.release_id,
        "round": release.round,
        "sink": release.sink,
        "effect": release.effect,
        "reviewers": release.policy.n_reviewers,
        "code": demands_code,
        "rows": release.n_rows,
        "seeds": release.n_seeds,
        "items": [asdict(item) for item in release.items],
    }


def _read_file(path: Path, reviewer: str | None, code: str | None) -> Answers:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ReviewRefused(f"The answers file {path} cannot be read ({error.strerror}). Give another.") from error
    return parse_answers(data, reviewer=reviewer, code=code)
