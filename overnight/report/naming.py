"""What a person calls a request: its key, the beginning of that, or the id of a row."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.queries import get_run, list_runs
from overnight.ledger.replays import find_keys
from overnight.place import PartsPlace
from overnight.records import RowState
from overnight.report.why.find import Search
from overnight.report.why.start import Start

#: Runs that are searched for a row, newest first.
_N_RUNS = 1000
#: Hex digits that may stand for a whole key.
LEAST_DIGITS = 8


def get_request_key(name: str, *, run_id: str | None, ledger: Ledger, place: PartsPlace) -> tuple[str, str | None]:
    """
    The request key that is meant, and the run that holds the row, where a row was named.

    Args:
        name: A request key, a unique beginning of one, or the id of a row.
        run_id: The run to look for the row in; None: the newest that holds it.
        ledger: Where to look.
        place: Where the parts are.

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
        return _find_of_row(connection, name, run_id, place)


def _find_of_row(connection: sa.Connection, row_id: str, run_id: str | None, place: PartsPlace) -> tuple[str, str]:
    """The key of the last step that asked the row, in the newest run that has asked it."""
    if run_id:
        get_run(connection, run_id)
    unasked: list[tuple[str, str]] = []
    for run in [run_id] if run_id else [run["run_id"] for run in list_runs(connection, _N_RUNS)]:
        rows = _find_rows(connection, run, row_id, place)
        if keys := [row["request_key"] for row in rows if row["request_key"]]:
            return keys[-1], run
        # One that halted before it was asked says nothing of the nights before.
        unasked += [(run, str(rows[-1]["state"]))] if rows else []
    if unasked:
        raise _refuse_unasked(row_id, *unasked[0])
    where = f"run {run_id}" if run_id else "any run"
    raise OvernightError(
        f"{row_id!r} is no row of {where} and begins no request key of at least {LEAST_DIGITS} digits. `overnight why"
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


def _find_rows(connection: sa.Connection, run_id: str, row_id: str, place: PartsPlace) -> list[dict[str, Any]]:
    """The row at each step of the run that it reached; what was offered is found where its part is gone too."""
    found = Search(connection, place, run_id).find(Start(row_id=row_id))
    return found.rows if found else []
