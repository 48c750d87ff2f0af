"""The rows that a brief shows: those worth reading, without what their prompt declares private."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import PartRefused, PlaceUnreachable
from overnight.ledger import Ledger
from overnight.ledger.completions import rows_of
from overnight.ledger.manifests import find_latest_batches
from overnight.ledger.runs import find_private
from overnight.ledger.schema import attempts
from overnight.masking import Veil
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import RowState
from overnight.report.brief.model import ShownRow
from overnight.report.reviews import say_count
from overnight.report.to_read import RANDOM, pick_rows_to_read
from overnight.report.under_review import find_open_review, tell_withheld
from overnight.report.understood import find_answers

#: Rows that a page shows, and of those that were set aside while a review is open.
N_ROWS, N_SET_ASIDE = 8, 4
_OPEN = (
    "Its review is open, and what it shows is what deserves to be read: `overnight review {run_id} --web`. Until it has"
    " ended only rows that were set aside are shown here: the others would tell which of its items are seeds."
)
_READ = "`overnight read {run_id}` shows them whole, and keeps what you say of them."


def find_rows(run_id: str, *, ledger: Ledger, place: PartsPlace) -> tuple[tuple[ShownRow, ...], str]:
    """
    The rows of a run that deserve to be read, the riskiest first, and what is said above them.

    Args:
        run_id: The run.
        ledger: Where it is recorded.
        place: Where the parts are; rows of one that is gone are not shown.
    """
    with ledger.reading() as connection:
        offering = find_open_review(connection, run_id)
    if offering and offering != run_id:
        return (), tell_withheld(offering)
    is_open = offering is not None
    try:
        chosen = _choose(run_id, ledger, place, is_open=is_open)
        with ledger.reading() as connection:
            rows = tuple(_show(connection, run_id, chosen, place))
    except (PartRefused, PlaceUnreachable) as error:
        return (), str(error)
    return rows, (_OPEN if is_open else _READ if rows else "There is no row to read.").format(run_id=run_id)


def _choose(run_id: str, ledger: Ledger, place: PartsPlace, *, is_open: bool) -> dict[str, str]:
    """Row ids, each with why it is shown."""
    if not is_open:
        picked = pick_rows_to_read(run_id, n_rows=N_ROWS, ledger=ledger, place=place)
        return {row.row_id: "at random" if row.why == RANDOM else row.why for row in picked}
    with ledger.reading() as connection:
        return _choose_set_aside(connection, run_id, place)


def _choose_set_aside(connection: sa.Connection, run_id: str, place: PartsPlace) -> dict[str, str]:
    """The first row of each class and rule."""
    first: dict[tuple[str, str], str] = {}
    for row in _list_rows(connection, run_id, place):
        if row["state"] != RowState.ACCEPTED and row["input"]:
            first.setdefault((row["failure_class"] or "", row["rule"] or ""), row["row_id"])
    return dict.fromkeys(list(first.values())[:N_SET_ASIDE], "set aside")


def _show(connection: sa.Connection, run_id: str, chosen: Mapping[str, str], place: PartsPlace) -> Iterator[ShownRow]:
    found = {row["row_id"]: row for row in _list_rows(connection, run_id, place) if row["row_id"] in chosen}
    private = find_private(connection, run_id)
    courses = _tell_courses(connection, run_id, [row["request_key"] for row in found.values() if row["request_key"]])
    answers = find_answers(connection, [row["request_key"] for row in found.values() if row["request_key"]])
    for row_id, why in chosen.items():
        row = found[row_id]
        given = orjson.loads(row["input"]) if row["input"] else {}
        output = orjson.loads(row["output"]) if row["output"] else None
        # Where it was refused, its reason may quote the answer that stands in no part.
        veil = Veil(private.get(row["step"], ()), given, output or answers.get(row["request_key"]))
        yield ShownRow(
            row_id=row_id,
            why=veil.hide_text(why),
            given=veil.hide_input(given),
            output=veil.hide_output(output) if output is not None else None,
            reason=veil.hide_text(row["reason"]) if row["reason"] else None,
            course=courses.get(row["request_key"], "It was answered without a call of this run."),
        )


def _list_rows(connection: sa.Connection, run_id: str, place: PartsPlace) -> Iterator[dict[str, Any]]:
    """Every row of the run at each step that it reached, an earlier step first."""
    for (step, _), batch in sorted(find_latest_batches(connection, run_id).items()):
        for row in read_part(batch.part, place).to_pylist():
            yield row | {"step": step}


def _tell_courses(connection: sa.Connection, run_id: str, keys: Sequence[str]) -> dict[str, str]:
    a = attempts.c
    query = sa.select(
        a.request_key,
        sa.func.count().label("n"),
        sa.func.sum(a.latency_s).label("seconds"),
        sa.func.sum(a.cost_usd).label("cost_usd"),
    ).where(a.run_id == run_id, a.outcome != "unsent")
    found = rows_of(connection, query.group_by(a.request_key), a.request_key, keys)
    return {row.request_key: _tell_course(row) for row in found}


def _tell_course(row: sa.Row[Any]) -> str:
    cost = "" if row.cost_usd is None else f", {row.cost_usd:.6f} USD"
    return f"{say_count(row.n, 'attempt')}, {row.seconds or 0:.1f} s{cost}."
