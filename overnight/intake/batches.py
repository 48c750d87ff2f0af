"""Source rows cut into batches, each written as a part; every row is in one of them, pending or quarantined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from overnight.intake.ids import SeenIds
from overnight.intake.source_rows import Columns, Fault, SourceRow, list_names
from overnight.keys import batch_digest, canonical_json
from overnight.parts import write_part
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
            part_rows = [_make_part_row(row, columns, seen) for row in islice(stream, size_batch(n))]
            if not part_rows:
                return
            yield _write_batch(n, part_rows, home)


def _write_batch(n: int, rows: list[dict[str, Any]], home: Path) -> Batch:
    return Batch(
        n=n,
        part=write_part(rows, home),
        digest=batch_digest((row["row_id"], row["input"] or "") for row in rows),
        n_rows=len(rows),
        n_quarantined=sum(row["state"] == RowState.QUARANTINED for row in rows),
    )


def _make_part_row(row: SourceRow, columns: Columns, seen: SeenIds) -> dict[str, Any]:
    row_id, fault = _name_row(row, columns, seen)
    fault = fault or _find_missing(row, columns)
    part_row = {
        "row_id": row_id,
        "row_number": row.number,
        "input": None if row.values is None else _format_input(row.values, columns),
        "state": (RowState.QUARANTINED if fault else RowState.PENDING).value,
    }
    if fault:
        part_row |= {"failure_class": fault.failure_class.value, "reason": fault.reason}
    return part_row


def _name_row(row: SourceRow, columns: Columns, seen: SeenIds) -> tuple[str, Fault | None]:
    """A name that no other row of the stream bears; a row whose own id cannot serve has a spare one."""
    if columns.id is None:
        return str(row.number), row.fault
    if _is_missing(row.id):
        reason = f"Row {row.number} has no id in column {columns.id!r}. Give it one."
        return seen.claim_spare(row.number), row.fault or Fault(FailureClass.EMPTY_ID, reason)
    row_id = str(row.id)
    first = seen.claim(row_id, row.number)
    if first is None:
        return row_id, row.fault
    reason = f"Row {row.number} has the id {row_id!r}, which row {first} has already. Give each row its own."
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
    optional = {name: "" if values.get(name) is None else values[name] for name in columns.optional_inputs}
    return canonical_json({**values, **optional}).decode()


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (not value or value.isspace()))
