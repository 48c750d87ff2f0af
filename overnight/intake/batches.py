"""Source rows cut into batches, each written as a part; every row is in one of them, pending or quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from overnight.intake.ids import SeenIds
from overnight.intake.source_rows import Columns, Fault, SourceRow, list_names
from overnight.keys import batch_digest, canonical_json
from overnight.parts import write_columns
from overnight.records import Batch, RowState
from overnight.taxonomy import FailureClass


def size_batch(n: int) -> int:
    """How many rows batch `n` (from 1) has: a stream of unknown length stays within a few hundred batches."""
    return int(500 * 2 ** ((n - 1) // 100))


def cut_batches(rows: Iterable[SourceRow], columns: Columns, home: Path) -> Iterator[Batch]:
    """Write each batch as a part as soon as it is full, and yield it; one batch is in memory."""
    with SeenIds() as seen:
        stream = iter(rows)
        for n in count(1):
            batch_rows = list(islice(stream, size_batch(n)))
            if not batch_rows:
                return
            yield _write_batch(n, batch_rows, columns, seen, home)


def _write_batch(n: int, rows: list[SourceRow], columns: Columns, seen: SeenIds, home: Path) -> Batch:
    names = _name_rows(rows, columns, seen)
    ids = [row_id for row_id, _ in names]
    faults = [fault or _find_missing(row, columns) for row, (_, fault) in zip(rows, names, strict=True)]
    inputs = [None if row.values is None else _format_input(row.values, columns) for row in rows]
    part = write_columns(
        {
            "row_id": ids,
            "row_number": [row.number for row in rows],
            "input": inputs,
            "state": [(RowState.QUARANTINED if fault else RowState.PENDING).value for fault in faults],
            "failure_class": [fault and fault.failure_class.value for fault in faults],
            "reason": [fault and fault.reason for fault in faults],
        },
        home,
    )
    digest = batch_digest((row_id, given or "") for row_id, given in zip(ids, inputs, strict=True))
    return Batch(n, part, digest, n_rows=len(rows), n_quarantined=sum(fault is not None for fault in faults))


def _name_rows(rows: list[SourceRow], columns: Columns, seen: SeenIds) -> list[tuple[str, Fault | None]]:
    """Name the rows at once where each has an id that no other row has, else one by one."""
    if columns.id is None:
        return [(str(row.number), row.fault) for row in rows]
    claims = [(row.id, row.number) for row in rows if row.id and not row.id.isspace()]
    if len(claims) == len(rows) and seen.claim_all(claims):
        return [(row_id, row.fault) for (row_id, _), row in zip(claims, rows, strict=True)]
    return [_name_row(row, columns, seen) for row in rows]


def _name_row(row: SourceRow, columns: Columns, seen: SeenIds) -> tuple[str, Fault | None]:
    """A name that no other row of the stream bears; a row whose own id cannot serve has a spare one."""
    if row.id is None or _is_missing(row.id):
        reason = f"Row {row.number} has no id in column {columns.id!r}. Give it one."
        return seen.claim_spare(row.number), row.fault or Fault(FailureClass.EMPTY_ID, reason)
    first = seen.claim(row.id, row.number)
    if first is None:
        return row.id, row.fault
    reason = f"Row {row.number} has the id {row.id!r}, which row {first} has already. Give each row its own."
    return seen.claim_spare(row.number), row.fault or Fault(FailureClass.DUPLICATE_ID, reason)


def _find_missing(row: SourceRow, columns: Columns) -> Fault | None:
    if row.values is None:
        return None
    missing = [name for name in columns.inputs if _is_missing(row.values[name])]
    if not missing:
        return None
    reason = f"Row {row.number} has no value in {list_names(missing)}. Fill it in, or declare it in optional_inputs."
    return Fault(FailureClass.MISSING_VALUE, reason)


def _format_input(values: dict[str, Any], columns: Columns) -> str:
    for name in columns.optional_inputs:
        if values.get(name) is None:
            values = {**values, name: ""}
    return canonical_json(values).decode()


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))
