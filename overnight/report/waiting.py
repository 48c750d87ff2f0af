"""What waits for somebody: reviews, deliveries of unknown fate, sinks on hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from overnight.ledger.promises import list_outbox
from overnight.ledger.queries import list_runs
from overnight.ledger.releases import find_release
from overnight.ledger.reviewers import list_reviewers
from overnight.ledger.reviews import ENDED, list_answers
from overnight.ledger.runs import find_starter
from overnight.ledger.sinks import list_holds
from overnight.records import Release, RunState
from overnight.report.reviews import say_count

#: Runs and deliveries that are looked through, the newest first.
_N_RUNS = 200
_N_DELIVERIES = 50


@dataclass(frozen=True)
class Wait:
    """Something that goes on only when somebody has done something."""

    #: What waits, and for whom.
    what: str
    #: What to do.
    how: str
    #: Whose it is; None: a sink's.
    run_id: str | None = None


def list_waits(connection: sa.Connection) -> list[Wait]:
    """Everything that waits for a person: reviews, the oldest first, then deliveries and holds."""
    return [*_list_reviews(connection), *_list_deliveries(connection), *_list_holds(connection)]


def _list_reviews(connection: sa.Connection) -> list[Wait]:
    waiting = list_runs(connection, _N_RUNS, states=[RunState.WAITING])
    found = [(run["flow"], find_release(connection, run["run_id"])) for run in reversed(waiting)]
    return [_describe_review(connection, flow, release) for flow, release in found if release]


def _describe_review(connection: sa.Connection, flow: str, release: Release) -> Wait:
    answers = list_answers(connection, release.release_id)
    rows = f"{say_count(release.n_rows, 'row')} of {flow}, run {release.run_id}, for {release.sink}"
    if answers and answers[-1][1].outcome in ENDED:
        said = f"{rows}: {answers[-1][1].outcome} by {answers[-1][1].reviewer}, and the run has not gone on since."
        return Wait(said, f"`overnight review {release.run_id}` continues it", release.run_id)
    # An approval that expired unused ended that review; who read in it may read again.
    since = [a for _, a in answers[max((n + 1 for n, (_, a) in enumerate(answers) if a.outcome in ENDED), default=0) :]]
    have_read = {a.reviewer for a in since if a.outcome == "second"}
    whom = _find_whom(connection, release, have_read)
    what = f"{rows}: {say_count(len(release.items), 'item')} to read, for {whom}."
    return Wait(what, f"`overnight review {release.run_id} --web`", release.run_id)


def _find_whom(connection: sa.Connection, release: Release, have_read: set[str]) -> str:
    """Who may read it: who started the run, or has read it, may not."""
    reviewers = [r.name for r in list_reviewers(connection)]
    out = have_read | {find_starter(connection, release.run_id) or ""}
    may = [name for name in reviewers if name not in out]
    if reviewers:
        return " or ".join(may) if may else "somebody who is not enrolled yet"
    return f"somebody other than {' and '.join(sorted(have_read))}" if have_read else "anybody"


def _list_deliveries(connection: sa.Connection) -> list[Wait]:
    found = []
    for sent in list_outbox(connection, _N_DELIVERIES):
        for state, words in (("unknown", "may have arrived or not"), ("failed", "were refused by the sink")):
            if n := sent["rows"].get(state):
                what = f"{say_count(n, 'row')} of release {sent['release_id']} for {sent['sink']} {words}."
                found.append(Wait(what, f"`overnight outbox {sent['release_id']}`", sent["run_id"]))
    return found


def _list_holds(connection: sa.Connection) -> list[Wait]:
    return [
        Wait(
            f"Nothing is written to {h['sink']}: on hold by {h['held_by']} since"
            f" {datetime.fromtimestamp(h['held_at'], UTC):%Y-%m-%d %H:%M} UTC ({h['held_for']}).",
            f"`overnight hold {h['sink']} --lift`",
        )
        for h in list_holds(connection)
    ]
