"""The rows of one side as columns of numbers: a million of them are some tens of megabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import sqlalchemy as sa

from overnight.keys import canonical_json
from overnight.ledger.comparing import get_asked, stream_asked
from overnight.ledger.purged_runs import naming_purge
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import RowState
from overnight.report.diff_sides import Side

#: 64 bits of a hash: of a million values, two share them once in 40 million comparisons.
Hashes = npt.NDArray[np.uint64]

ACCEPTED, QUARANTINED, PENDING = range(3)
STATES = ("accepted", "quarantined", "pending")
#: Of a field that a row has no value for.
_ABSENT = 0
_MASK = 2**64 - 1
#: Labels of a field that are kept as texts; a schema has no more that anybody reads.
_MOST_LABELS = 2000


class Row(NamedTuple):
    """A row as a side has it."""

    #: None where rows have no ids: a prompt's requests.
    row_id: str | None
    input: str
    state: int
    output: str | None
    key: str | None
    failure_class: str | None
    reason: str | None


@dataclass(frozen=True)
class Columns:
    """The rows of a side, each at one place of every column."""

    side: Side
    #: What pairs it: of the row's id, or of its input.
    pairing: Hashes
    inputs: Hashes
    states: npt.NDArray[np.int8]
    #: The first eight bytes of its request key; 0: it was never asked, or its texts were purged.
    keys: Hashes
    fields: Mapping[str, Hashes]
    #: Of label fields: the label of each hash.
    labels: Mapping[str, Mapping[int, str]]
    #: Rows that cannot be compared: their texts were purged.
    n_purged: int


def read_columns(side: Side, *, by_id: bool, connection: sa.Connection, place: PartsPlace) -> Columns:
    """Read a side's rows, a batch at a time."""
    pairing, inputs, keys, states = array("Q"), array("Q"), array("Q"), array("b")
    fields = {name: array("Q") for name in side.fields}
    labels: dict[str, dict[int, str]] = {name: {} for name in side.labels}
    n_purged = 0
    for row in _stream_rows(side, connection, place):
        n_purged += bool(row.key and not row.input)
        given = hash_text(row.input)
        pairing.append(hash_text(row.row_id) if by_id and row.row_id is not None else given)
        inputs.append(given)
        states.append(row.state)
        keys.append(int(row.key[:16], 16) if row.key and row.input else 0)
        hashed = hash_fields(side.fields, orjson.loads(row.output) if row.output else {})
        for name, column in fields.items():
            column.append(hashed[name])
        for name, known in labels.items():
            if hashed[name] not in known and row.output and len(known) < _MOST_LABELS:
                known[hashed[name]] = _name_label(orjson.loads(row.output).get(name))
    numbers = {name: np.frombuffer(column, np.uint64) for name, column in fields.items()}
    read = (np.frombuffer(column, np.uint64) for column in (pairing, inputs, keys))
    of_pairing, of_inputs, of_keys = read
    return Columns(side, of_pairing, of_inputs, np.frombuffer(states, np.int8), of_keys, numbers, labels, n_purged)


def hash_fields(names: Iterable[str], output: Mapping[str, Any]) -> dict[str, int]:
    """A number for the value of each field: equal values have equal ones, in this process."""
    return {name: hash(canonical_json(output[name])) & _MASK if name in output else _ABSENT for name in names}


def hash_text(text: str) -> int:
    """A number that a text has on every day."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def get_row(columns: Columns, at: int, connection: sa.Connection, place: PartsPlace) -> Row:
    """The row at a place, with its texts."""
    if not columns.side.batches:
        return _read_asked(get_asked(connection, f"{int(columns.keys[at]):016x}"))
    for batch in columns.side.batches:
        if at < batch.part.n_rows:
            return _read_row(read_part(batch.part, place).slice(at, 1).to_pylist()[0])
        at -= batch.part.n_rows
    raise IndexError(at)


def _stream_rows(side: Side, connection: sa.Connection, place: PartsPlace) -> Iterator[Row]:
    if side.run_id is None:
        yield from map(_read_asked, stream_asked(connection, side.version.prompt_hash))
        return
    for batch in side.batches:
        with naming_purge(connection, side.run_id):
            table = read_part(batch.part, place)
        for some in table.to_batches(max_chunksize=1000):
            yield from map(_read_row, some.to_pylist())


def _read_asked(found: Any) -> Row:
    state = ACCEPTED if found.output is not None else QUARANTINED if found.failure_class else PENDING
    return Row(None, found.input, state, found.output, found.request_key, found.failure_class, found.reason)


def _read_row(found: Mapping[str, Any]) -> Row:
    state = STATES.index(RowState(found["state"]).value)
    output = found["output"] if state == ACCEPTED else None
    why = (found["failure_class"], found["reason"])
    return Row(found["row_id"], found["input"] or "", state, output, found["request_key"], *why)


def _name_label(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
