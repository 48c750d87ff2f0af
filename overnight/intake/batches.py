"""Source rows cut into batches, each written as a part; every row is in one of them, pending or quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any

from overnight.intake.ids import SeenIds
from overnight.intake.source_rows import Columns, Fault, Numbering, SourceRow, list_names
from overnight.keys import batch_digest, canonical_json
from overnight.masking import mask_secrets
from overnight.parts import write_columns
from overnight.place import PartsPlace
from overnight.records import Batch, RowState
from overnight.taxonomy import FailureClass

#: Of input in one batch: rows of megabytes make a batch of few rows, so that it fits into memory.
_MOST_CHARACTERS = 2**24
_PENDING, _QUARANTINED = RowState.PENDING.value, RowState.QUARANTINED.value


def size_batch(n: int) -> int:
    """How many rows batch `n` (from 1) has: a stream of unknown length stays within a few hundred batches."""
    return int(500 * 2 ** ((n - 1) // 100))


def cut_batches(
    rows: Iterable[SourceRow], columns: Columns, place: PartsPlace, numbering: Numbering | None = None
) -> Iterator[Batch]:
    """Write each batch as a part as soon as it is full, and yield it; one batch is in memory."""
    named = numbering or Numbering()
    with SeenIds() as seen:
        stream = iter(rows)
        for n in count(1):
            read = list(_read_rows(islice(stream, size_batch(n)), columns, named))
            if not read:
                return
            yield _write_batch(n, read, columns, seen, place, named=named)


#: A row's number, its id, its input as canonical JSON, what its reader found wrong with it, and what is missing.
_Row = tuple[int, str | None, str | None, Fault | None, Fault | None]


def _read_rows(rows: Iterable[SourceRow], columns: Columns, named: Numbering) -> Iterator[_Row]:
    """Row by row, so that what a row was read into is let go of at once; until they are many, or much."""
    n_characters = 0
    for row in rows:
        if row.values is None:
            yield row.number, row.id, None, row.fault, None
            continue
        given = _format_input(row.values, columns)
        yield row.number, row.id, given, row.fault, _find_missing(row.number, row.values, columns, named)
        n_characters += len(given)
        if n_characters >= _MOST_CHARACTERS:
            return


def _write_batch(
    n: int, rows: list[_Row], columns: Columns, seen: SeenIds, place: PartsPlace, *, named: Numbering
) -> Batch:
    numbers, read_ids, read_inputs, unreadable, missing = zip(*rows, strict=True)
    # Before anything is named, pinned or sent: what is recorded of a request stays, byte for byte, what was sent.
    own_ids, inputs = _mask_all(read_ids), _mask_all(read_inputs)
    n_masked = sum((a, b) != (c, d) for a, b, c, d in zip(read_ids, read_inputs, own_ids, inputs, strict=True))
    ids, unnamed = _name_rows(own_ids, numbers, columns, seen, named)
    faults = [a or b or c for a, b, c in zip(unreadable, unnamed, missing, strict=True)]
    part = write_columns(
        {
            "row_id": ids,
            "row_number": numbers,
            "input": inputs,
            "state": [(_QUARANTINED if fault else _PENDING) for fault in faults],
            "failure_class": [fault and fault.failure_class.value for fault in faults],
            "reason": [fault and fault.reason for fault in faults],
        },
        place,
    )
    digest = batch_digest((row_id, given or "") for row_id, given in zip(ids, inputs, strict=True))
    n_quarantined = len(rows) - faults.count(None)
    return Batch(n, part, digest, n_rows=len(rows), n_quarantined=n_quarantined, n_masked=n_masked)


def _mask_all(texts: Sequence[str | None]) -> Sequence[str | None]:
    return [text and mask_secrets(text) for text in texts]


def _name_rows(
    ids: Sequence[str | None], numbers: Sequence[int], columns: Columns, seen: SeenIds, named: Numbering
) -> tuple[Sequence[str], Sequence[Fault | None]]:
    """Names that no other row of the stream bears: all at once where each row's own id can serve, else one by one."""
    if columns.id is None:
        return [str(number) for number in numbers], [None] * len(numbers)
    own = [row_id for row_id in ids if row_id and not row_id.isspace()]
    if len(own) == len(ids) and seen.claim_all(list(zip(own, numbers, strict=True))):
        return own, [None] * len(own)
    given = [_name_row(row_id, number, columns.id, seen, named) for row_id, number in zip(ids, numbers, strict=True)]
    return [row_id for row_id, _ in given], [fault for _, fault in given]


def _name_row(
    row_id: str | None, number: int, column: str, seen: SeenIds, named: Numbering
) -> tuple[str, Fault | None]:
    """The row's own id, or a spare one where that cannot serve."""
    if row_id is None or _is_missing(row_id):
        reason = f"{named.name(number)} has no id in column {column!r}. Give it one."
        return seen.claim_spare(number), Fault(FailureClass.EMPTY_ID, reason)
    first = seen.claim(row_id, number)
    if first is None:
        return row_id, None
    other = named.name(first).removeprefix("Row")
    reason = f"{named.name(number)} has the id {row_id!r}, which row{other} has already. Give each row its own."
    return seen.claim_spare(number), Fault(FailureClass.DUPLICATE_ID, reason)


def _find_missing(number: int, values: dict[str, Any], columns: Columns, named: Numbering) -> Fault | None:
    missing = [name for name in columns.inputs if _is_missing(values[name])]
    if not missing:
        return None
    reason = (
        f"{named.name(number)} has no value in {list_names(missing)}. Fill it in, or declare it in optional_inputs."
    )
    return Fault(FailureClass.MISSING_VALUE, reason)


def _format_input(values: dict[str, Any], columns: Columns) -> str:
    for name in columns.optional_inputs:
        if values.get(name) is None:
            values = {**values, name: ""}
    # As text: the bytes of orjson keep the four kilobytes of its buffer for as long as they live.
    return canonical_json(values).decode()


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))
