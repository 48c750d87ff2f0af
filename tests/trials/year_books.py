"""A year's books: the ledger laid beside the provider's log, the receiver's, the reader's notes and the source itself."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from overnight.keys import digest_bytes
from overnight.ledger.manifests import find_latest_batches
from overnight.ledger.queries import summarize
from overnight.parts import read_part
from overnight.records import Batch
from tests.trials.year import answer_text
from tests.trials.year_provider import GOOD, Given, Posted
from tests.trials.year_steps import C

_CENT = 1e-9
#: A call, as the ledger has it; the prompt's text names its version, the input the row's text.
_ATTEMPTS = """
    SELECT a.provider_request_id, a.outcome, a.cost_usd, a.failure_class, a.request_key, r.input, p.text
    FROM attempts AS a JOIN requests AS r ON r.request_key = a.request_key
    JOIN prompts AS p ON p.prompt_hash = r.prompt_hash WHERE a.outcome <> 'unsent'
"""


@dataclass
class Told:
    """A run as the trial itself knows it."""

    run_id: str
    version: int
    sink: str
    rows: dict[str, str]
    n_bad: int
    night: str
    #: How it will be decided.
    decision: str = "release"
    #: As its last process said.
    state: str = "running"


@dataclass
class World:
    """Everything that was written down outside the ledger."""

    home: Path
    ledger_url: str
    given: Sequence[Given]
    posted: Sequence[Posted]
    runs: dict[str, Told] = field(default_factory=dict)
    #: The last run that was delivered to the file.
    in_file: str = ""
    #: What may be spent of each night, and how often a process was killed on each day.
    caps: dict[str, float] = field(default_factory=dict)
    kills: Counter[int] = field(default_factory=Counter)
    #: Good answers that came too late on a busy machine; none, where the trial does not say so.
    n_slow: int = 0
    #: Request keys by version of the prompt and text, as they were met.
    keys: dict[tuple[int, str], str] = field(default_factory=dict)

    def read_notes(self) -> list[dict[str, Any]]:
        """What the readers wrote down."""
        path = self.home / "notes.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def look(ledger_url: str) -> Iterator[sa.Connection]:
    """The ledger by a connection of nobody's."""
    with sa.create_engine(ledger_url, poolclass=sa.NullPool).connect() as connection:
        yield connection


def check_books(world: World, touched: Sequence[str]) -> None:
    """
    Hold the ledger against the other records.

    Args:
        world: What stands outside it.
        touched: The runs that something was done on since the books were checked last.
    """
    with look(world.ledger_url) as connection:
        check_calls(world, connection)
        check_money(world, connection)
        for run_id in touched:
            check_rows(world.runs[run_id], world.home, connection)
        check_deliveries(world, connection)


def check_rows(told: Told, home: Path, connection: sa.Connection) -> None:
    """Every row of the source is in one state, and an accepted one has the answer that the model gives to its text."""
    found: list[dict[str, Any]] = []
    latest = find_latest_batches(connection, told.run_id).values()
    for batch in latest:
        found += read_part(batch.part, home).to_pylist()
    assert len(found) == len(told.rows) + told.n_bad or not latest
    states = Counter(row["state"] for row in found)
    good = [row for row in found if row["row_id"] in told.rows and orjson.loads(row["input"])["body"] == told.rows[row["row_id"]]]
    assert len(good) == len(told.rows) or not latest
    for row in good:
        if row["state"] == "accepted":
            assert orjson.loads(row["output"]) == answer_text(told.version, told.rows[row["row_id"]]), row["row_id"]
    summary = summarize(connection, told.run_id, 0.0)
    assert summary.rows == summary.accepted + summary.quarantined + summary.pending == len(found)
    if not any(isinstance(batch, Batch) for batch in latest):
        assert (summary.accepted, summary.pending) == (states["accepted"], states["pending"])
        assert summary.quarantined == states["quarantined"] >= told.n_bad
    left = connection.exec_driver_sql(_LEFT.format(told.run_id)).scalar_one()
    if told.state == "released":
        assert summary.published + summary.held + left == summary.accepted
    else:
        assert summary.published == 0 or told.state == "halted"


#: Promises of a run that were not kept because the sink holds a later version.
_LEFT = """
    SELECT count(*) FROM outbox AS o JOIN approvals AS a ON a.approval_id = o.approval_id
    JOIN releases AS r ON r.release_id = a.release_id WHERE r.run_id = '{}' AND o.state = 'superseded'
"""


def check_calls(world: World, connection: sa.Connection) -> None:
    """Each call of the ledger is one of the provider's; those it knows nothing of, it says it does not know."""
    by_id = {given.call_id: given for given in world.given}
    assert len(by_id) == len(world.given)
    known: set[str] = set()
    unknown: Counter[str] = Counter()
    for row in connection.exec_driver_sql(_ATTEMPTS):
        key = _hex(row.request_key)
        if row.input:  # of one that was purged there is the hash alone
            world.keys[_read_version(row.text), orjson.loads(row.input)["body"]] = key
        if row.provider_request_id is None:
            unknown[key] += 1
            continue
        assert row.provider_request_id in by_id, f"{row.provider_request_id} is none of the provider's"
        given = by_id[row.provider_request_id]
        assert given.call_id not in known, f"{given.call_id} stands in the ledger twice"
        known.add(given.call_id)
        assert world.keys.get(given.key) == key, f"{given.call_id} stands under another request"
        assert (row.outcome == "accepted") == (given.kind == GOOD), (given, row)
        assert (row.cost_usd or 0.0) == pytest.approx(given.usd), (given, row)
    lost = [given for given in world.given if given.call_id not in known]
    assert {given.key for given in lost} <= world.keys.keys(), "calls for which the ledger has no request"
    n_lost = Counter(world.keys[given.key] for given in lost)
    assert n_lost <= unknown, f"calls of which the ledger has no attempt: {n_lost - unknown}"
    # Of good answers none is lost but where a process was killed with calls in flight, or the night was too slow.
    for day, n in Counter(given.day for given in lost if given.kind == GOOD).items():
        assert n <= C * world.kills[day] + world.n_slow, f"day {day}: {n} good answers lost by {world.kills[day]} kills"
    paid = Counter(given.key for given in world.given if given.kind == GOOD)
    for asked, n in paid.items():
        key = world.keys[asked]
        if n > 1:
            assert n - 1 <= unknown[key] + _count_purges(key, connection), f"{asked} was paid for {n} times"


def _count_purges(key: str, connection: sa.Connection) -> int:
    found = connection.execute(
        sa.text("SELECT count(*) FROM purged_answers WHERE request_key = :key"), {"key": bytes.fromhex(key)}
    )
    return int(found.scalar_one())


def _read_version(prompt: str) -> int:
    return int(prompt.partition("(v")[2].partition(")")[0])


def check_money(world: World, connection: sa.Connection) -> None:
    """What the ledger says was spent covers the invoice; per night and in all, and no night is over its cap."""
    [(cost, reserved)] = connection.exec_driver_sql(
        "SELECT sum(cost_usd), sum(CASE WHEN cost_usd IS NULL THEN reserved_usd END) FROM attempts"
        " WHERE outcome <> 'unsent'"
    ).all()
    booked = (cost or 0.0) + (reserved or 0.0)
    spent = {
        scope: usd for scope, usd in connection.exec_driver_sql("SELECT scope, spent_usd + reserved_usd FROM spend").all()
    }
    for kind in ("run:", "night:"):
        assert sum(usd for scope, usd in spent.items() if scope.startswith(kind)) == pytest.approx(booked)
    known = {i for (i,) in connection.exec_driver_sql("SELECT provider_request_id FROM attempts") if i}
    assert (cost or 0.0) == pytest.approx(sum(given.usd for given in world.given if given.call_id in known))
    invoice: defaultdict[str, float] = defaultdict(float)
    for given in world.given:
        invoice[given.night] += given.usd
    for night, usd in invoice.items():
        assert usd <= spent.get(night, 0.0) + _CENT, f"{night}: {usd} on the invoice, {spent.get(night)} in the ledger"
        assert spent.get(night, 0.0) <= world.caps[night] + _CENT, f"{night} is over its cap"


_HELD = """
    SELECT r.run_id, rr.row_id FROM held_rows AS h JOIN approvals AS a ON a.approval_id = h.approval_id
    JOIN releases AS r ON r.release_id = a.release_id
    JOIN release_rows AS rr ON rr.release_id = r.release_id AND rr.position = h.position WHERE a.state = 'consumed'
"""
_PROMISES = """
    SELECT r.run_id, a.sink, a.turn, o.row_id, o.delivery_key, o.payload, o.state
    FROM outbox AS o JOIN approvals AS a ON a.approval_id = o.approval_id
    JOIN releases AS r ON r.release_id = a.release_id ORDER BY a.sink, a.turn, o.position
"""


def check_deliveries(world: World, connection: sa.Connection) -> None:
    """What arrived is what readers let out, byte for byte and once; and all that they let out arrived."""
    wrong, posted, promised = _find_wrong(world), _read_posted(world), set[str]()
    in_file: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for row in connection.exec_driver_sql(_PROMISES):
        told, key = world.runs[row.run_id], _hex(row.delivery_key)
        assert row.run_id in wrong, f"{row.row_id} of {row.run_id} is to leave, and nobody let it out"
        assert told.state in {"released", "halted"}, f"{row.row_id} of {row.run_id} is to leave, which is {told.state}"
        assert not wrong[row.run_id] & {_name_answer(told, row.row_id)}, f"{row.row_id} of {row.run_id} was called wrong"
        if row.sink.startswith("http"):
            promised.add(key)
            assert key in posted or row.state not in {"delivered", "earlier"}, f"{row.row_id} has not arrived"
            if key in posted:
                assert digest_bytes(posted[key]) == _hex(row.payload)
                _check_body(posted[key], told)
        elif row.state == "delivered":
            in_file[row.turn, row.run_id].append(row.row_id)
    assert posted.keys() <= promised, "what nobody let out has left"
    for row in connection.exec_driver_sql(_HELD):
        told = world.runs[row.run_id]
        if told.decision == "release":
            assert _name_answer(told, row.row_id) in wrong[row.run_id], f"{row.row_id} of {row.run_id} is held for nothing"
    if in_file:
        (_, run_id), row_ids = max(in_file.items())
        assert world.in_file == run_id
        _check_file(world.home / "out.jsonl", world.runs[run_id], row_ids)


def _read_posted(world: World) -> dict[str, bytes]:
    posted: dict[str, bytes] = {}
    for one in world.posted:
        assert posted.setdefault(one.key, one.body) == one.body, f"two versions under one key {one.key}"
    return posted


def _check_file(path: Path, told: Told, row_ids: Sequence[str]) -> None:
    lines = path.read_bytes().splitlines()
    assert [orjson.loads(line)["row_id"] for line in lines] == row_ids
    for line in lines:
        _check_body(line, told)


def _name_answer(told: Told, row_id: str) -> tuple[str, str, int, str]:
    return told.sink, row_id, told.version, told.rows[row_id]


def _check_body(body: bytes, told: Told) -> None:
    row = orjson.loads(body)
    said = {name: row[name] for name in ("label", "quote")}
    assert said == answer_text(told.version, told.rows[row["row_id"]]), row


def _find_wrong(world: World) -> Mapping[str, set[tuple[str, str, int, str]]]:
    """Of each run that somebody let out: what had been called wrong at its sink by then."""
    so_far: set[tuple[str, str, int, str]] = set()
    found: dict[str, set[tuple[str, str, int, str]]] = {}
    for note in world.read_notes():
        told = world.runs[note["run"]]
        so_far = so_far | {_name_answer(told, row_id) for row_id in note["wrong"]}
        if note["decision"] != "reject":
            found[note["run"]] = so_far
    return found


def _hex(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).hex()

