"""What a person calls a request: its key, the beginning of that, or the id of a row."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from overnight.failures import OvernightError, PartRefused
from overnight.ledger import Ledger
from overnight.ledger.queries import get_run, list_runs
from overnight.ledger.replays import find_keys
from overnight.ledger.runs import find_latest_batches
from overnight.parts import read_part
from overnight.records import RowState

#: Runs that are searched for a row, newest first.
_N_RUNS = 1000
#: Hex digits that may stand for a whole key.
LEAST_DIGITS = 8


def get_request_key(name: str, *, run_id: str | None, ledger: Ledger, home: Path) -> tuple[str, str | None]:
    """
    The request key that is meant, and the run that holds the row, where a row was named.

    Args:
        name: A request key, a unique beginning of one, or the id of a row.
        run_id: The run to look for the row in; None: the newest that holds it.
        ledger: Where to look.
        home: Where the parts are.

    Raises:
        OvernightError: Nothing or several requests have the name.
    """
    with ledger.reading() as connection:
        if re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},64}}", name) and (keys := find_keys(connection, name)):
            if len(keys) > 1:
                raise OvernightError(
                    f"{name} begins several request keys, such as {keys[0]} and {keys[1]}. Give more of it."
                )
            return keys[0], run_id
        if run_id:
            get_run(connection, run_id)
        runs = [run_id] if run_id else [run["run_id"] for run in list_runs(connection, _N_RUNS)]
        unasked: list[tuple[str, str]] = []
        for run in runs:
            state, key = _find_key(connection, run, name, home)
            if key:
                return key, run
            # One that halted before it was asked says nothing of the nights before.
            unasked += [(run, state)] if state else []
    if unasked:
        raise _refuse_unasked(name, *unasked[0])
    where = f"run {run_id}" if run_id else "any run"
    raise OvernightError(
        f"{name!r} is no row of {where} and begins no request key of at least {LEAST_DIGITS} digits. `overnight why"
        " ROW` has a row's key."
    )


def _refuse_unasked(row_id: str, run_id: str, state: str) -> OvernightError:
    asked = f"Row {row_id!r} was never asked in run {run_id}"
    if state == RowState.QUARANTINED:
        return OvernightError(f"{asked}: it was set aside at intake. `overnight why` has its reason.")
    return OvernightError(
        f"{asked}: it is {state}, and no earlier run that was searched has asked it. `overnight runs` says where the"
        " run stands; continue it first."
    )


def _find_key(connection: sa.Connection, run_id: str, row_id: str, home: Path) -> tuple[str | None, str | None]:
    """Where the row stands in the run, if it is there, and the key of the last step that asked it."""
    state, key = None, None
    for _, batch in sorted(find_latest_batches(connection, run_id).items()):
        try:
            table = read_part(batch.part, home).select(["row_id", "state", "request_key"])
        except PartRefused:
            continue
        names = table["row_id"].to_pylist()
        if row_id in names:
            at = names.index(row_id)
            state, key = str(table["state"][at].as_py()), table["request_key"][at].as_py() or key
    return state, key
