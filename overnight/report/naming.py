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
        for run in runs:
            is_there, key = _find_key(connection, run, name, home)
            if key:
                return key, run
            if is_there:
                raise OvernightError(
                    f"Row {name!r} was never asked in run {run}: it was set aside at intake. `overnight why` has its"
                    " reason."
                )
    where = f"run {run_id}" if run_id else "any run"
    raise OvernightError(
        f"{name!r} is no row of {where} and begins no request key of at least {LEAST_DIGITS} digits. `overnight why"
        " ROW` has a row's key."
    )


def _find_key(connection: sa.Connection, run_id: str, row_id: str, home: Path) -> tuple[bool, str | None]:
    """Whether the run holds the row, and the key of the last step that asked it."""
    is_there, key = False, None
    for _, batch in sorted(find_latest_batches(connection, run_id).items()):
        try:
            table = read_part(batch.part, home).select(["row_id", "request_key"])
        except PartRefused:
            continue
        names = table["row_id"].to_pylist()
        if row_id in names:
            is_there, key = True, table["request_key"][names.index(row_id)].as_py() or key
    return is_there, key
