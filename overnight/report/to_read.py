"""Rows whose whole trace is worth reading: half of them for their risk, half at random among those nobody read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.approve.risk import rank_risk
from overnight.failures import ReviewRefused
from overnight.keys import digest_output, digest_parts
from overnight.ledger import Ledger
from overnight.ledger.asked import find_reasked
from overnight.ledger.completions import find_refusals, rows_of
from overnight.ledger.manifests import find_latest_batches
from overnight.ledger.purged_runs import naming_purge
from overnight.ledger.queries import get_run, list_runs
from overnight.ledger.readings import find_readings
from overnight.ledger.runs import find_private
from overnight.ledger.schema import attempts, run_prompts
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Answered, RowState, RunState
from overnight.report.measure import hide_reason
from overnight.report.under_review import find_keys_under_review, find_open_review

RANDOM = "random"
#: Runs that have ended, whatever came of them.
_ENDED = [RunState.RELEASED, RunState.HELD, RunState.REJECTED]
#: Rows that are named for what they cost, took or made the model think, and in which words.
_N_EXTREME = 5
_EXTREMES = {
    "cost_usd": "among the most expensive: {:.6f} USD",
    "latency_s": "among the slowest: {:.1f} s",
    "n_reasoning": "among the longest reasoning: {:,} characters",
}


@dataclass(frozen=True)
class RowToRead:
    """A row that is worth reading."""

    run_id: str
    step: int
    row_id: str
    request_key: str
    #: Of its answer, accepted or refused; None: none was understood.
    output_digest: str | None
    #: "random", or what makes it worth reading, in words.
    why: str


@dataclass(frozen=True)
class _Row:
    """A row of the run, as its last step has it."""

    step: int
    row_id: str
    request_key: str
    input: Mapping[str, Any]
    output: Mapping[str, Any] | None
    output_digest: str | None
    reason: str | None
    failure_class: str | None


def find_readable_run(connection: sa.Connection, run_id: str | None) -> str:
    """
    The run, or the newest that has ended.

    Raises:
        OvernightError: There is no such run.
        ReviewRefused: Its review is open, or that of the run it shadows: what its rows say would tell which items are
            seeds.
    """
    if run_id is None:
        ended = list_runs(connection, 1, states=list(_ENDED))
        if not ended:
            raise ReviewRefused("No run has ended yet. `overnight runs` lists the runs.")
        run_id = str(ended[0]["run_id"])
    get_run(connection, run_id)
    if offering := find_open_review(connection, run_id):
        raise ReviewRefused(
            f"The review of run {offering} is open, and its rows in full would tell which items are seeds. Read them"
            " once it has ended."
        )
    return run_id


def pick_rows_to_read(run_id: str, *, n_rows: int, ledger: Ledger, place: PartsPlace) -> list[RowToRead]:
    """
    Rows of a run to read in full; the same ones until somebody has read them.

    Rows that another run offers to its reviewers now are left out.

    Args:
        run_id: Whose review, if there is any, has ended.
        n_rows: How many; half of them, rounded up, for their risk.
        ledger: Where it is recorded.
        place: Where the parts are.

    Raises:
        PartRefused: A part is missing or altered.
    """
    with ledger.reading() as connection:
        rows = list(_list_rows(connection, run_id, place))
        read = {(r.request_key, r.output_digest): r for r in find_readings(connection, [r.request_key for r in rows])}
        hidden = find_keys_under_review(connection, place)
        left = [r for r in rows if (r.request_key, r.output_digest) not in read and r.request_key not in hidden]
        doubted = {key for key, reading in read.items() if reading.verdict != "correct"}
        risky = list(_rank(connection, run_id, left, doubted))
    n_risky = min(len(risky), (n_rows + 1) // 2)
    chosen = dict(risky[:n_risky])
    # By a digest: in no order of the source, and the same for who asks again.
    drawn = sorted((r for r in left if r.failure_class is None), key=lambda r: digest_parts(run_id, [r.row_id]))
    for row in drawn:
        if len(chosen) >= n_rows:
            break
        chosen.setdefault(row.row_id, RANDOM)
    by_id = {row.row_id: row for row in left}
    return [_name(run_id, by_id[row_id], why) for row_id, why in chosen.items()]


def _name(run_id: str, row: _Row, why: str) -> RowToRead:
    return RowToRead(run_id, row.step, row.row_id, row.request_key, row.output_digest, why)


def _list_rows(connection: sa.Connection, run_id: str, place: PartsPlace) -> Iterator[_Row]:
    """The rows that were asked, each as of the last step that it reached; those accepted or refused."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for (step, _), batch in sorted(find_latest_batches(connection, run_id).items()):
        with naming_purge(connection, run_id):
            rows = read_part(batch.part, place).to_pylist()
        for row in rows:
            if row["request_key"] and row["state"] != RowState.PENDING:
                found[row["row_id"]] = step, row
    private = find_private(connection, run_id)
    refused = find_refusals(connection, [row["request_key"] for _, row in found.values() if not row["output"]])
    for step, row in found.values():
        output = row["output"] or getattr(refused.get(row["request_key"]), "output", None)
        yield _Row(
            step=step,
            row_id=row["row_id"],
            request_key=row["request_key"],
            input=orjson.loads(row["input"]),
            output=orjson.loads(output) if output else None,
            output_digest=digest_output(output) if output else None,
            # It may quote them, and is kept with what a reader says.
            reason=hide_reason(row | {"output": output}, private.get(step, ()), None) if row["reason"] else None,
            failure_class=row["failure_class"] if row["state"] == RowState.QUARANTINED else None,
        )


def _rank(
    connection: sa.Connection, run_id: str, rows: Sequence[_Row], doubted: set[tuple[str, str | None]]
) -> Iterator[tuple[str, str]]:
    """The riskiest of each kind in turn, each row once, with its reason in words."""
    kinds = [
        _list_risky(connection, run_id, rows, doubted),
        [(row.row_id, f"quarantined after it was answered: {row.reason}") for row in rows if _is_late(row)],
        *_list_extreme(connection, run_id, rows),
    ]
    seen: set[str] = set()
    for pair in chain.from_iterable(zip_longest(*kinds)):
        if pair and pair[0] not in seen:
            seen.add(pair[0])
            yield pair


def _is_late(row: _Row) -> bool:
    return row.failure_class is not None and row.output is not None


def _list_risky(
    connection: sa.Connection, run_id: str, rows: Sequence[_Row], doubted: set[tuple[str, str | None]]
) -> list[tuple[str, str]]:
    """As a review would draw them: step by step, since each has a schema of its own."""
    c = run_prompts.c
    schemas = {
        row.step: orjson.loads(row.schema)
        for row in connection.execute(sa.select(c.step, c.schema).where(c.run_id == run_id))
    }
    reasked = find_reasked(connection, [row.request_key for row in rows])
    doubted_keys = {key for key, _ in doubted}
    found: list[tuple[str, str]] = []
    for step in sorted(schemas, reverse=True):
        some = [row for row in rows if row.step == step and row.failure_class is None and row.output is not None]
        answered = [
            Answered(
                row.row_id,
                row.input,
                row.output or {},
                warning=row.reason,
                was_reasked=row.request_key in reasked,
                is_doubted=row.request_key in doubted_keys,
            )
            for row in some
        ]
        found += [(some[place].row_id, why) for place, why in rank_risk(answered, schemas[step])]
    return found


def _list_extreme(connection: sa.Connection, run_id: str, rows: Sequence[_Row]) -> Iterable[list[tuple[str, str]]]:
    """What cost the most, took the longest, and was thought about the longest, each most first."""
    a = attempts.c
    query = sa.select(
        a.request_key,
        sa.func.sum(a.cost_usd).label("cost_usd"),
        sa.func.max(a.latency_s).label("latency_s"),
        sa.func.max(sa.func.length(a.reasoning)).label("n_reasoning"),
    ).where(a.run_id == run_id)
    query = query.group_by(a.request_key)
    by_key = {row.request_key: row.row_id for row in rows}
    found = rows_of(connection, query, a.request_key, list(by_key))
    for column, what in _EXTREMES.items():
        told = [(getattr(row, column), by_key[row.request_key]) for row in found if getattr(row, column)]
        yield [(row_id, what.format(most)) for most, row_id in sorted(told, reverse=True)[:_N_EXTREME]]
