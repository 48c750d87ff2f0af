"""Rows of a parquet file, streamed, as values that have a JSON form."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from datetime import date, datetime, time
from itertools import groupby, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from overnight.failures import InputRefused
from overnight.intake.parquet_sizes import size_reads
from overnight.intake.source_files import SourceFile
from overnight.intake.source_rows import Columns, Fault, Numbering, SourceRow, check_columns, make_id
from overnight.intake.spool import get_path
from overnight.taxonomy import FailureClass

#: Of a column's compressed bytes in memory; else it would be all of a row group's.
_BUFFER_BYTES = 2**20
#: Of one value: a longer one costs its row.
MOST_BYTES = 2**24


class _Unreadable(ValueError):
    """The value has no text: its message completes "Row 3 holds … in column 'x'"."""

    failure_class = FailureClass.UNDECODABLE
    remedy = "Write the column as UTF-8 text."


class _TooLarge(_Unreadable):
    failure_class = FailureClass.TOO_LARGE
    remedy = "Shorten it."


def read_parquet_rows(file: SourceFile, columns: Columns, numbering: Numbering) -> Generator[SourceRow, None, int]:
    """
    Stream the rows; only the declared columns are read.

    Returns:
        The number of the last row.

    Raises:
        InputRefused: The file is not parquet with the declared columns, or expands beyond measure.
    """
    number = numbering.n_before
    try:
        with get_path(file) as path, pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as opened:
            names = opened.schema_arrow.names
            check_columns(names, columns, file.name)
            wanted = list(dict.fromkeys((*columns.required, *columns.select_inputs(names))))
            for table in _read_tables(opened, path, wanted, file):
                cells = {name: _read_cells(column) for name, column in zip(wanted, table.columns, strict=True)}
                read = _read_plainly if all(map(_is_plain, table.columns, cells.values())) else _read_each
                yield from read(number, cells, columns, numbering)
                number += table.num_rows
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise InputRefused(
            f"{file.name} cannot be read as parquet ({why}). Write it again as parquet, or give a CSV file."
        ) from error
    return number


def _read_tables(opened: pq.ParquetFile, path: Path, wanted: list[str], file: SourceFile) -> Iterator[pa.RecordBatch]:
    sizes = enumerate(size_reads(path, opened.metadata, wanted, file))
    for n_rows, groups in groupby(sizes, key=itemgetter(1)):
        row_groups = [n for n, _ in groups]
        for table in opened.iter_batches(n_rows, row_groups=row_groups, columns=wanted, use_threads=False):
            yield table.select(wanted)


def _is_plain(column: pa.Array[Any], cells: list[Any]) -> bool:
    """Whether every cell is its own JSON form: whole numbers, truth values, and texts without NUL."""
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return True
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    texts = [cell for cell in cells if isinstance(cell, str)]
    return is_text and len(texts) + cells.count(None) == len(cells) and "\0" not in "".join(texts)


def _read_plainly(number: int, cells: Mapping[str, list[Any]], columns: Columns, _: Numbering) -> Iterator[SourceRow]:
    names = columns.select_inputs(list(cells))
    n_rows = len(next(iter(cells.values())))
    ids = map(make_id, cells[columns.id]) if columns.id is not None else repeat(None, n_rows)
    for at, (row_id, *values) in enumerate(zip(ids, *(cells[name] for name in names), strict=True), number + 1):
        yield SourceRow(at, row_id, dict(zip(names, values, strict=True)), None)


def _read_each(
    number: int, cells: Mapping[str, list[Any]], columns: Columns, numbering: Numbering
) -> Iterator[SourceRow]:
    for at, values in enumerate(zip(*cells.values(), strict=True), number + 1):
        yield _read_row(at, dict(zip(cells, values, strict=True)), columns, numbering)


def _read_cells(column: pa.Array[Any]) -> list[Any]:
    if column.nbytes > MOST_BYTES:
        return [_read_cell(column[at]) for at in range(len(column))]
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # text that is not UTF-8, a date past year 9999: one cell spoils the column
        return [_read_cell(column[at]) for at in range(len(column))]


def _read_cell(scalar: pa.Scalar[Any]) -> Any:
    try:
        n_bytes = _count_bytes(scalar)
        return scalar.as_py() if n_bytes <= MOST_BYTES else _TooLarge(f"a value of {n_bytes:,} bytes")
    except UnicodeDecodeError as error:
        return _name_byte(error)
    except (ValueError, OverflowError) as error:
        return _Unreadable(f"a value that cannot be read ({error})")


def _read_row(number: int, cells: dict[str, Any], columns: Columns, numbering: Numbering) -> SourceRow:
    plain: dict[str, Any] = {}
    fault: Fault | None = None
    for name, value in cells.items():
        try:
            plain[name] = _make_plain(value)
        except _Unreadable as error:
            reason = f"{numbering.name(number)} holds {error}, in column {name!r}. {error.remedy}"
            fault = fault or Fault(error.failure_class, reason)
    row_id = make_id(plain[columns.id]) if columns.id in plain else None
    inputs = {name: plain[name] for name in columns.select_inputs(list(plain))}
    return SourceRow(number, row_id, None if fault else inputs, fault)


def _count_bytes(scalar: pa.Scalar[Any]) -> int:
    """As far as it can be told before a Python object is made of it."""
    if isinstance(scalar, pa.StringScalar | pa.BinaryScalar | pa.LargeStringScalar | pa.LargeBinaryScalar):
        buffer = scalar.as_buffer()
        return buffer.size if buffer is not None else 0
    values = getattr(scalar, "values", None)
    return values.nbytes if isinstance(values, pa.Array) else 0


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
