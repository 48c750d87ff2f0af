"""Rows that reviewers read now: shown in full anywhere else, they would tell which items are seeds."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from overnight.failures import PartRefused
from overnight.ledger.manifests import find_batches
from overnight.ledger.queries import find_run, list_runs
from overnight.ledger.release_schema import release_rows
from overnight.ledger.releases import find_release
from overnight.ledger.reviews import ENDED, find_last_answer
from overnight.ledger.shadows import KIND, name_shadow
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import CompletedBatch, RunState

#: How many runs are searched for those that wait.
_N_RUNS = 1000


def find_open_review(connection: sa.Connection, run_id: str) -> str | None:
    """The run whose reviewers read these rows now: the run itself, or the one that it shadows."""
    run = find_run(connection, run_id)
    offering = str(run["of_run"]) if run and run["kind"] == KIND else run_id
    return offering if _is_open(connection, offering) else None


def is_reviewed(connection: sa.Connection, run_id: str) -> bool:
    """Whether rows of the run were offered, and their review has ended."""
    return find_release(connection, run_id) is not None and not _is_open(connection, run_id)


def tell_withheld(run_id: str) -> str:
    """Why no row of the run, or of its shadow, is shown."""
    return (
        f"No row is shown until the review of run {run_id} has ended: rows in full would tell which of its items are"
        " seeds."
    )


def find_keys_under_review(connection: sa.Connection, place: PartsPlace) -> set[str]:
    """The requests whose answers reviewers read now, of whichever run, and those of its shadow."""
    found: set[str] = set()
    for run in list_runs(connection, _N_RUNS, states=[RunState.WAITING]):
        if _is_open(connection, run["run_id"]) and (release := find_release(connection, run["run_id"])):
            c = release_rows.c
            keys = sa.select(c.request_key).where(c.release_id == release.release_id)
            found |= set(connection.execute(keys).scalars())
            found |= set(_list_keys(connection, name_shadow(run["run_id"]), place))
    return found


def _is_open(connection: sa.Connection, run_id: str) -> bool:
    release = find_release(connection, run_id)
    last = find_last_answer(connection, release.release_id) if release else None
    return release is not None and (last is None or last.outcome not in ENDED)


def _list_keys(connection: sa.Connection, run_id: str, place: PartsPlace) -> Iterator[str]:
    for batch in find_batches(connection, run_id, CompletedBatch):
        try:
            keys = read_part(batch.part, place)["request_key"].to_pylist()
        except PartRefused:
            # Its rows cannot be named any more; the run's own are.
            continue
        yield from filter(None, keys)
