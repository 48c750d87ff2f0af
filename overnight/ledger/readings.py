"""Readings: what people said of rows whose whole trace they read, outside of any review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from overnight.keys import digest_output
from overnight.ledger.completions import rows_of
from overnight.ledger.release_schema import release_rows
from overnight.ledger.review_schema import review_answers, verdicts
from overnight.ledger.reviews import ENDED
from overnight.ledger.schema import completions, prompts, requests
from overnight.ledger.trace_schema import readings

VERDICTS = ("correct", "wrong", "unsure")
_C = readings.c


@dataclass(frozen=True)
class Reading:
    """What one person said of one row."""

    run_id: str
    step: int
    row_id: str
    request_key: str
    #: Of the answer that was read, by `keys.digest_output`; None: there was none.
    output_digest: str | None
    #: "correct", "wrong" or "unsure".
    verdict: str
    note: str
    reader: str
    #: "random", or what made it worth reading.
    picked_for: str
    recorded_at: float


_NAMES = tuple(Reading.__dataclass_fields__)


@dataclass(frozen=True)
class WrongAnswer:
    """An answer that somebody read and called wrong."""

    #: As canonical JSON.
    input: str
    output: str
    #: Who said so, and when.
    by: str
    recorded_at: float


def record_readings(connection: sa.Connection, given: Sequence[Reading]) -> None:
    """Keep what was said; a row that is read twice has two readings."""
    if given:
        connection.execute(sa.insert(readings), [asdict(reading) for reading in given])


def find_readings(connection: sa.Connection, keys: Sequence[str]) -> list[Reading]:
    """All readings of these requests, oldest first."""
    found = rows_of(connection, sa.select(*(_C[name] for name in _NAMES)), _C.request_key, keys)
    return sorted((Reading(*row) for row in found), key=lambda reading: reading.recorded_at)


def find_read(connection: sa.Connection, keys: Sequence[str]) -> set[tuple[str, str | None]]:
    """Which answers to these requests somebody has read: (request key, digest of the answer)."""
    return {(reading.request_key, reading.output_digest) for reading in find_readings(connection, keys)}


def find_wrong_answers(connection: sa.Connection, prompt_name: str) -> list[WrongAnswer]:
    """
    Answers to a prompt of this name whose last verdict is that they are wrong: of readings, and of ended reviews.

    Args:
        connection: To the ledger.
        prompt_name: Whichever version of it was asked.
    """
    last: dict[str, tuple[float, str, str]] = {}
    for key, verdict, by, at in sorted(
        [*_list_read(connection), *_list_reviewed(connection)], key=lambda said: said[3]
    ):
        last[key] = (at, verdict, by)
    wrong = {key: (at, by) for key, (at, verdict, by) in last.items() if verdict == "wrong"}
    c = completions.c
    query = sa.select(c.request_key, requests.c.input, c.output)
    query = query.join(requests, requests.c.request_key == c.request_key)
    query = query.join(prompts, prompts.c.prompt_hash == requests.c.prompt_hash).where(prompts.c.name == prompt_name)
    found = rows_of(connection, query, c.request_key, list(wrong))
    return [
        WrongAnswer(row.input, row.output, wrong[row.request_key][1], wrong[row.request_key][0])
        for row in found
        if row.input and row.output
    ]


#: A request key, what was said of its answer, by whom, and when.
_Said = tuple[str, str, str, float]


def _list_read(connection: sa.Connection) -> list[_Said]:
    query = sa.select(_C.request_key, _C.output_digest, completions.c.output, _C.verdict, _C.reader, _C.recorded_at)
    query = query.join(completions, completions.c.request_key == _C.request_key)
    return [
        (row.request_key, row.verdict, row.reader, row.recorded_at)
        for row in connection.execute(query)
        # Another answer may stand there by now.
        if row.output and row.output_digest == digest_output(row.output)
    ]


def _list_reviewed(connection: sa.Connection) -> list[_Said]:
    v, a = verdicts.c, review_answers.c
    ended = sa.select(a.release_id).where(a.outcome.in_(ENDED))
    offered = sa.and_(release_rows.c.release_id == v.release_id, release_rows.c.delivery_key == v.delivery_key)
    given = sa.and_(a.release_id == v.release_id, a.round == v.round)
    query = sa.select(release_rows.c.request_key, v.verdict, a.reviewer, v.recorded_at)
    query = query.join(release_rows, offered).join(review_answers, given).where(v.release_id.in_(ended))
    return [(row.request_key, row.verdict, row.reviewer, row.recorded_at) for row in connection.execute(query)]
