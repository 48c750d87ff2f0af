"""Rows of a parquet file, streamed, as values that have a JSON form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from itertools import repeat
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
                read = _read_plainly if all(map(_is_plain, table.columns, cells.values())) else _read_each
                yield from read(number, cells, columns)
                number += table.num_rows
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise InputRefused(
            f"{path} cannot be read as parquet ({why}). Write it again as parquet, or give a CSV file."
        ) from error


def _is_plain(column: pa.Array[Any], cells: list[Any]) -> bool:
    """Whether every cell is its own JSON form: whole numbers, truth values, and texts without NUL."""
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return True
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    texts = [cell for cell in cells if isinstance(cell, str)]
    return is_text and len(texts) + cells.count(None) == len(cells) and "\0" not in "".join(texts)


def _read_plainly(number: int, cells: Mapping[str, list[Any]], columns: Columns) -> Iterator[SourceRow]:
    names = columns.select_inputs(list(cells))
    n_rows = len(next(iter(cells.values())))
    ids = map(_make_id, cells[columns.id]) if columns.id is not None else repeat(None, n_rows)
    for at, (row_id, *values) in enumerate(zip(ids, *(cells[name] for name in names), strict=True), number + 1):
        yield SourceRow(at, row_id, dict(zip(names, values, strict=True)), None)


def _read_each(number: int, cells: Mapping[str, list[Any]], columns: Columns) -> Iterator[SourceRow]:
    for at, values in enumerate(zip(*cells.values(), strict=True), number + 1):
        yield _read_row(at, dict(zip(cells, values, strict=True)), columns)


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
