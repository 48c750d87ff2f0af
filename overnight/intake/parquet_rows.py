"""Rows of a parquet file, streamed, as values that have a JSON form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from overnight.failures import InputRefused
from overnight.intake.source_rows import Columns, Fault, SourceRow, check_columns
from overnight.taxonomy import FailureClass

#: Rows decoded at once.
_ROWS_AT_ONCE = 1000


class _Unreadable(ValueError):
    """The value has no text: its message completes "Row 3 holds … in column 'x'"."""


def read_parquet_rows(path: Path, columns: Columns) -> Iterator[SourceRow]:
    """
    Stream the rows, counted from 1; only the declared columns are read.

    Raises:
        InputRefused: The file is not parquet with the declared columns.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            check_columns(names, columns, path)
            wanted = list(dict.fromkeys((*columns.required, *columns.select_inputs(names))))
            number = 0
            for table in file.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                cells = {name: _read_cells(table.column(name)) for name in wanted}
                for at in range(table.num_rows):
                    number += 1
                    yield _read_row(number, {name: cells[name][at] for name in wanted}, columns)
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise InputRefused(
            f"{path} cannot be read as parquet ({why}). Write it again as parquet, or give a CSV file."
        ) from error


def _read_cells(column: pa.Array[Any]) -> list[Any]:
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # text that is not UTF-8, a date past year 9999: one cell spoils the column
        return [_read_cell(column[at]) for at in range(len(column))]


def _read_cell(scalar: pa.Scalar[Any]) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return _name_byte(error)
    except (ValueError, OverflowError) as error:
        return _Unreadable(f"a value that cannot be read ({error})")


def _read_row(number: int, cells: dict[str, Any], columns: Columns) -> SourceRow:
    plain: dict[str, Any] = {}
    fault: Fault | None = None
    for name, value in cells.items():
        try:
            plain[name] = _make_plain(value)
        except _Unreadable as error:
            reason = f"Row {number} holds {error}, in column {name!r}. Write the column as UTF-8 text."
            fault = fault or Fault(FailureClass.UNDECODABLE, reason)
    row_id = _make_id(plain[columns.id]) if columns.id in plain else None
    inputs = {name: plain[name] for name in columns.select_inputs(list(plain))}
    return SourceRow(number, row_id, None if fault else inputs, fault)


def _make_plain(value: Any) -> Any:  # noqa: PLR0911 - one line a type
    match value:
        case None | bool() | int():
            return value
        case str() if "\0" in value:
            raise _Unreadable("byte 0x00 (NUL)")
        case str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return _make_plain(_decode(value))
        case list() | tuple():
            return [_make_plain(v) for v in value]
        case dict():
            return {str(k): _make_plain(v) for k, v in value.items()}
        case datetime() | date() | time():
            return value.isoformat()
        case _Unreadable():
            raise value
        case _:  # Decimal, timedelta, UUID
            return str(value)


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _name_byte(error) from error


def _name_byte(error: UnicodeDecodeError) -> _Unreadable:
    return _Unreadable(f"byte 0x{error.object[error.start]:02x}, which is not UTF-8")


def _make_id(value: Any) -> str:
    if value is None:
        return ""
    # pandas makes floats of whole numbers when one of them is missing.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
