"""Parts: parquet files of rows, named by their content, written once and verified when read."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from overnight.failpoints import reach
from overnight.failures import PartMissing, PartRefused
from overnight.keys import digest_bytes
from overnight.place import PartsPlace
from overnight.records import Part

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


def write_part(rows: Sequence[Mapping[str, Any]], place: PartsPlace) -> Part:
    """Write rows as a part under `place`; the same rows give the same part, and an existing one is kept."""
    return write_columns({name: [row.get(name) for row in rows] for name in PART_SCHEMA.names}, place)


def write_columns(columns: Mapping[str, Sequence[Any]], place: PartsPlace) -> Part:
    """
    Write columns of one length as a part, as `write_part` writes rows.

    Args:
        columns: By name; one that is not given is null. A text may be given as its UTF-8 bytes.
        place: Where parts are.
    """
    n_rows = len(columns["row_id"])
    buffer = io.BytesIO()
    pq.write_table(_make_table(columns, n_rows), buffer, compression="zstd")
    data = buffer.getvalue()
    digest = digest_bytes(data)
    path = Path("parts") / digest[:2] / f"{digest}.parquet"
    if not is_whole(Part(str(path), digest, n_rows), place):
        _write_atomically(place / path, data)
    return Part(str(path), digest, n_rows)


def read_columns(part: Part, place: PartsPlace) -> dict[str, list[Any]]:
    """
    The columns of a part by name, each in the order of its rows; a third of the time of row dicts.

    Raises:
        PartRefused: The file is missing, or its bytes are not those that were written.
    """
    return read_part(part, place).to_pydict()


def read_part(part: Part, place: PartsPlace) -> pa.Table:
    """
    The rows of a part, (n, 10) in the order they were written.

    Raises:
        PartRefused: The file is missing, or its bytes are not those that were written.
    """
    data = _read_bytes(part, place)
    # Not `read_table`: it imports pyarrow's datasets and pandas with them, a second that `why` would wait for.
    # One thread: another of pyarrow's may let go of the bytes only while the process ends, which aborts it.
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def verify_part(part: Part, place: PartsPlace) -> None:
    """
    Make sure that a part can be read, without reading its rows.

    Raises:
        PartRefused: The file is missing, or its bytes are not those that were written.
    """
    _read_bytes(part, place)


def _read_bytes(part: Part, place: PartsPlace) -> bytes:
    try:
        data = (place / part.path).read_bytes()
    except OSError as error:
        kind = PartMissing if isinstance(error, FileNotFoundError) else PartRefused
        raise kind(
            f"Part {part.path} cannot be read ({error.strerror}). Run the flow again to make it anew."
        ) from error
    if digest_bytes(data) != part.digest:
        raise PartRefused(f"Part {part.path} was altered after it was written. Delete it and run the flow again.")
    return data


def find_row(part: Part, place: PartsPlace, column: str, value: str) -> int | None:
    """
    The position of the first row of a part with this value in a column; no other column is read, nor the digest.

    Raises:
        PartRefused: The file is missing, or is no parquet file.
    """
    try:
        with pa.OSFile(str(place / part.path), "r") as source, pq.ParquetFile(source) as file:
            if not _spans(file.metadata, PART_SCHEMA.get_field_index(column), value):
                return None
            texts = file.read(columns=[column], use_threads=False).column(0)
    except (OSError, pa.ArrowException) as error:
        raise PartRefused(f"Part {part.path} cannot be read ({error}). Run the flow again to make it anew.") from error
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


def is_whole(part: Part, place: PartsPlace) -> bool:
    """Whether the part's file is there, unaltered; it is about to be used, and no purge takes it for old meanwhile."""
    path = place / part.path
    try:
        is_same = digest_bytes(path.read_bytes()) == part.digest
    except OSError:
        return False
    with contextlib.suppress(OSError):
        os.utime(path)
    return is_same


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


def _write_atomically(path: Path, data: bytes) -> None:
    try:
        _write_whole(path, data)
    except OSError as error:
        raise PartRefused(
            f"Part {path} cannot be written ({error.strerror}). Make room, and run again: what was answered is kept."
        ) from error


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reach("before-part")
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)  # half of it only takes room
        raise
