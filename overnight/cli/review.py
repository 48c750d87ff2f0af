"""`overnight review`: the same reading as the form's, in the terminal or from a file, and the run goes on."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from overnight.approve import Answers, decide, find_standing, parse_answers
from overnight.cli.resume import offer_held, resume_run
from overnight.cli.show import get_ledger, print_json
from overnight.failures import OvernightError, ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.queries import get_run, list_runs
from overnight.ledger.releases import find_release
from overnight.records import Approval, Release, RunState
from overnight.report import describe_effect, show_value
from overnight.settings import Settings

_KEYS = {"c": "correct", "w": "wrong", "u": "unsure"}


def review_run(run_id: str | None, *, answers: Path | None, reviewer: str | None, held: bool, as_json: bool) -> int:
    """Review what waits and continue the run; the exit code."""
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    if held:
        if run_id is None:
            raise OvernightError("Say which run's held rows are offered: overnight review RUN --held.")
        if code := offer_held(run_id):
            return code
    run_id = run_id or _find_waiting(ledger)
    release = _get_release(run_id, ledger)
    if answers is None and as_json:
        print_json(_to_read(release))
        return 0
    standing = find_standing(ledger, run_id, release.sink, now=time.time())
    if standing is not None:
        _refuse_second(release, standing, answers)
        return _go_on(release, standing, as_json=as_json)
    given = _read_file(answers, reviewer) if answers else _ask_in_terminal(release, reviewer)
    standing = decide(
        release,
        given,
        channel="file" if answers else "terminal",
        ledger=ledger,
        key_file=settings.approval_key,
        approval_s=settings.approval_s,
        now=time.time(),
    )
    return _go_on(release, standing, as_json=as_json)


def _refuse_second(release: Release, standing: Approval | RunState, answers: Path | None) -> None:
    if answers is not None:
        decided = f"approved by {standing.reviewer}" if isinstance(standing, Approval) else standing
        raise ReviewRefused(
            f"Run {release.run_id} was {decided} already, and these answers are not taken. To continue it as decided,"
            f" run `overnight review {release.run_id}` without answers."
        )


def _go_on(release: Release, standing: Approval | RunState, *, as_json: bool) -> int:
    if isinstance(standing, Approval):
        decided = (
            f"approved by {standing.reviewer}: {standing.n_allowed:,} rows may leave, {standing.n_held:,} are held"
        )
    else:
        decided = f"{standing}: nothing leaves"
    click.echo(f"Run {release.run_id} is {decided}. The decision is recorded.", err=True)
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


def _to_read(release: Release) -> dict[str, Any]:
    return {
        "run_id": release.run_id,
        "release": release.release_id,
        "round": release.round,
        "sink": release.sink,
        "rows": release.n_rows,
        "items": [asdict(item) for item in release.items],
    }


def _read_file(path: Path, reviewer: str | None) -> Answers:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ReviewRefused(f"The answers file {path} cannot be read ({error.strerror}). Give another.") from error
    return parse_answers(data, reviewer=reviewer)


def _ask_in_terminal(release: Release, reviewer: str | None) -> Answers:
    if not sys.stdin.isatty():
        raise ReviewRefused(
            f"Run {release.run_id} waits for verdicts on {len(release.items)} rows. Run `overnight review` in a"
            " terminal, or print them with --json and give --answers FILE."
        )
    click.echo(f"To be sent to {release.sink}: {release.n_rows:,} rows. You are shown {len(release.items)}.")
    try:
        return _ask_all(release, reviewer)
    except click.Abort:
        raise ReviewRefused(
            f"The review of run {release.run_id} was broken off: nothing is recorded, nothing leaves. Begin again:"
            f" `overnight review {release.run_id}`."
        ) from None


def _ask_all(release: Release, reviewer: str | None) -> Answers:
    items = {item.item: _ask_verdict(item.item, asdict(item), len(release.items)) for item in release.items}
    counts = ", ".join(f"{list(items.values()).count(v)} {v}" for v in _KEYS.values())
    click.echo(f"\nRead {len(items)} of {release.n_rows:,} rows: {counts}.")
    click.echo(describe_effect(release))
    name = reviewer or click.prompt("Your name")
    choices = click.Choice(["release", "reject"])
    decision = click.prompt("Release the rows marked correct, or reject the run?", type=choices)
    reason = click.prompt("Why do you reject it?") if decision == "reject" else ""
    return parse_answers({"decision": decision, "reviewer": name, "reason": reason, "items": items})


def _ask_verdict(number: int, item: dict[str, Any], n_items: int) -> Any:
    click.echo(f"\n{number} of {n_items}, row {show_value(item['row_id'])}")
    for title in ("input", "output"):
        click.secho(f"  {title}", bold=True)
        for name, value in item[title].items():
            click.echo(f"    {name}: {show_value(value)}")
    choices = click.Choice([*_KEYS, *_KEYS.values()], case_sensitive=False)
    given = click.prompt("  [c]orrect, [w]rong or [u]nsure", type=choices, show_choices=False)
    return _KEYS[given[0]]
