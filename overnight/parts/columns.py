"""Columns of a part as the bytes of a parquet file; pandas is not imported for it."""

from __future__ import annotations

import io
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: One shape for every stage, so that a row can be followed from intake to the gate.
_FIELDS: list[pa.Field[Any]] = [
    pa.field("row_id", pa.string(), nullable=False),
    #: The row's number in the source, from 1.
    pa.field("row_number", pa.int64(), nullable=False),
    #: The declared inputs as canonical JSON; null where the row could not be read.
    pa.field("input", pa.string()),
    #: A `RowState`.
    pa.field("state", pa.string(), nullable=False),
    pa.field("request_key", pa.string()),
    #: The accepted answer as canonical JSON.
    pa.field("output", pa.string()),
    #: The `FailureClass`, the rule where one refused it, and the reason in words.
    pa.field("failure_class", pa.string()),
    pa.field("rule", pa.string()),
    pa.field("reason", pa.string()),
    #: The model that answered, PROVIDER:NAME, where it is not the prompt's own.
    pa.field("model", pa.string()),
]
PART_SCHEMA = pa.schema(_FIELDS)


def encode(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """The file; the same columns are the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(_make_table(columns, len(columns["row_id"])), buffer, compression="zstd")
    return buffer.getvalue()


def decode(data: bytes) -> pa.Table:
    """The rows of a file, (n, 10)."""
    # Not `read_table`: it imports pyarrow's datasets and pandas with them, a second that `why` would wait for.
    # One thread: another of pyarrow's may let go of the bytes only while the process ends, which aborts it.
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def find_in(source: Any, column: str, value: str) -> int | None:
    """The position of the first row of an open file with this value in a column; no other column is read."""
    with pq.ParquetFile(source) as file:
        if not _spans(file.metadata, PART_SCHEMA.get_field_index(column), value):
            return None
        texts = file.read(columns=[column], use_threads=False).column(0)
    # Most parts do not hold it: their bytes are searched without making a text of each value.
    if not any(_may_hold(chunk, value.encode()) for chunk in texts.chunks):
        return None
    return next((at for at, found in enumerate(texts.to_pylist()) if found == value), None)


def _spans(written: Any, column: int, value: str) -> bool:
    """Whether the value is between a column's least and most, as far as the file tells them."""
    groups = (written.row_group(n).column(column).statistics for n in range(written.num_row_groups))
    return any(not found or not found.has_min_max or found.min <= value <= found.max for found in groups)


def _may_hold(texts: Any, value: bytes) -> bool:
    data = texts.buffers()[2]
    return value in data.to_pybytes() if data and value else True


def _make_table(columns: Mapping[str, Sequence[Any]], n_rows: int) -> pa.Table:
    arrays = [_make_array(columns.get(field.name), field, n_rows) for field in PART_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=PART_SCHEMA)


def _make_array(values: Sequence[Any] | None, field: pa.Field[Any], n_rows: int) -> Any:
    """The values as an array; not by `pa.array`, which imports pandas to ask whether they are pandas' own."""
    if values is None or (not any(values) and all(value is None for value in values)):
        return pa.nulls(n_rows, field.type)
    if field.type == pa.int64():
        return pa.Array.from_buffers(field.type, n_rows, [None, pa.py_buffer(array("q", values))])
    builder = pa.lib.StringBuilder()
    builder.append_values(values)
    if len(builder) < n_rows:  # it leaves out, and does not say so, what would make more than 2 GiB
        return pa.array(values, field.type)
    return builder.finish()
