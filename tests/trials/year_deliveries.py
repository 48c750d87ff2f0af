"""The way out of a year: what arrived, laid beside what readers let out and what the ledger says of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import sqlalchemy as sa

from overnight.keys import digest_bytes
from tests.trials.year import answer_text
from tests.trials.year_records import Told, World, to_hex

_HELD = """
    SELECT r.run_id, rr.row_id FROM held_rows AS h JOIN approvals AS a ON a.approval_id = h.approval_id
    JOIN releases AS r ON r.release_id = a.release_id
    JOIN release_rows AS rr ON rr.release_id = r.release_id AND rr.position = h.position WHERE a.state = 'consumed'
"""
_PROMISES = """
    SELECT r.run_id, a.sink, a.turn, o.row_id, o.delivery_key, o.payload, o.state, o.n_sends
    FROM outbox AS o JOIN approvals AS a ON a.approval_id = o.approval_id
    JOIN releases AS r ON r.release_id = a.release_id ORDER BY a.sink, a.turn, o.position
"""


def check_deliveries(world: World, connection: sa.Connection) -> None:
    """What arrived is what readers let out, byte for byte and once; and all that they let out arrived."""
    wrong, posted, promised = _find_wrong(world), _read_posted(world), set[str]()
    in_file: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for row in connection.exec_driver_sql(_PROMISES):
        told, key = world.runs[row.run_id], to_hex(row.delivery_key)
        assert row.run_id in wrong, f"{row.row_id} of {row.run_id} is to leave, and nobody let it out"
        assert told.state in {"released", "halted"}, f"{row.row_id} of {row.run_id} is to leave, which is {told.state}"
        assert not wrong[row.run_id] & {_name_answer(told, row.row_id)}, (
            f"{row.row_id} of {row.run_id} was called wrong"
        )
        if row.sink.startswith("http"):
            promised.add(key)
            assert key in posted or row.state not in {"delivered", "earlier"}, f"{row.row_id} has not arrived"
            if key in posted:
                assert digest_bytes(posted[key]) == to_hex(row.payload)
                _check_body(posted[key], told)
        elif row.state == "delivered":
            in_file[row.turn, row.run_id].append(row.row_id)
    assert posted.keys() <= promised, "what nobody let out has left"
    _check_latest(posted, connection)
    for row in connection.exec_driver_sql(_HELD):
        told = world.runs[row.run_id]
        if told.decision == "release":
            assert _name_answer(told, row.row_id) in wrong[row.run_id], (
                f"{row.row_id} of {row.run_id} is held for nothing"
            )
    if in_file:
        (_, run_id), row_ids = max(in_file.items())
        assert world.in_file == run_id
        _check_file(world.home / "out.jsonl", world.runs[run_id], row_ids)


def _check_latest(posted: Mapping[str, bytes], connection: sa.Connection) -> None:
    """Of each row the receiver, which takes a key once, was given last what was let out last."""
    stands = {orjson.loads(body)["row_id"]: digest_bytes(body) for body in posted.values()}
    last: defaultdict[str, set[str]] = defaultdict(set)
    for row in connection.exec_driver_sql(_PROMISES):
        if row.sink.startswith("http") and row.state in {"delivered", "earlier"}:
            last[row.row_id] = {to_hex(row.payload)}
        elif row.sink.startswith("http") and row.n_sends and row.state in {"promised", "sending"}:
            # Its answer was lost: it may be there.
            last[row.row_id].add(to_hex(row.payload))
    # A row that is not there at all is missed above.
    for row_id in last.keys() & stands.keys():
        assert stands[row_id] in last[row_id], f"the receiver holds another version of {row_id} than the last"


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
