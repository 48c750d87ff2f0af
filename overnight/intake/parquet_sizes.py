"""How many rows of a parquet file may be decoded at once: a few kilobytes of it may stand for gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from overnight.failures import InputRefused
from overnight.intake.source_files import SourceFile

#: Rows decoded at once, and the bytes that they may take.
_MOST_ROWS, _MOST_BYTES = 1000, 2**25
#: A column's uncompressed bytes in a row group that are not judged, and the most that one byte may become beyond.
_JUDGED_FROM, _MOST_FOLD = 2**26, 100
#: A value that is no text, as a Python object.
_VALUE_BYTES = 64
#: The mean of a column whose values are no ordinary texts.
_LARGE_BYTES = 2**16
#: Some rows have more than the mean.
_SKEW = 4


def size_reads(path: Path, metadata: Any, wanted: Sequence[str], file: SourceFile) -> Iterator[int]:
    """
    For each row group, how many rows at once.

    Raises:
        InputRefused: One of its columns expands as no dataset does.
    """
    for n in range(metadata.num_row_groups):
        group = metadata.row_group(n)
        chunks = [group.column(at) for at in range(group.num_columns) if _is_wanted(group.column(at), wanted)]
        for chunk in chunks:
            _refuse_bomb(chunk, file)
            _refuse_large(chunk, file)
        yield _size_read(path, n, group.num_rows, chunks)


def _is_wanted(chunk: Any, wanted: Sequence[str]) -> bool:
    # A name may hold dots itself: then one too many is looked at.
    return any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in wanted)


def _refuse_bomb(chunk: Any, file: SourceFile) -> None:
    out, stored = chunk.total_uncompressed_size, chunk.total_compressed_size
    is_bomb = out > _JUDGED_FROM and out > _MOST_FOLD * stored
    # In a list, a value may take no byte at all.
    is_long = "." in chunk.path_in_schema and chunk.num_values * _VALUE_BYTES > max(_JUDGED_FROM, 1000 * out)
    if is_bomb or is_long:
        raise InputRefused(
            f"{file.name} expands {stored:,} bytes of column {chunk.path_in_schema!r} to {chunk.num_values:,} values of"
            f" {out:,} bytes, as no dataset does. Look what is in it, or write it again in smaller row groups."
        )


def _refuse_large(chunk: Any, file: SourceFile) -> None:
    """Values as large as these are written into one page, which is decoded whole."""
    out, mean = chunk.total_uncompressed_size, chunk.total_uncompressed_size / max(chunk.num_values, 1)
    if out > _MOST_BYTES and mean > _LARGE_BYTES:
        raise InputRefused(
            f"{file.name} has {out:,} bytes of column {chunk.path_in_schema!r} in one row group, in values of"
            f" {mean:,.0f} bytes, which are not read in little memory. Write it in row groups of a few rows, or as"
            " JSON lines."
        )


def _size_read(path: Path, group: int, n_rows: int, chunks: Sequence[Any]) -> int:
    texts = [chunk for chunk in chunks if _is_text(chunk) and chunk.has_dictionary_page]
    # The usual file of short texts is not looked at any closer: no value is longer than all of a dictionary.
    if sum(chunk.total_uncompressed_size for chunk in texts) * _MOST_ROWS <= _MOST_BYTES:
        texts = []
    longest = _find_longest(path, group, [chunk.path_in_schema for chunk in texts])
    row_bytes = sum(
        chunk.num_values / max(n_rows, 1) * (_VALUE_BYTES + longest.get(chunk.path_in_schema, _find_mean(chunk)))
        for chunk in chunks
    )
    return max(1, min(_MOST_ROWS, int(_MOST_BYTES / max(row_bytes, 1.0))))


def _is_text(chunk: Any) -> bool:
    return chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")


def _find_mean(chunk: Any) -> float:
    return _SKEW * chunk.total_uncompressed_size / max(chunk.num_values, 1) if _is_text(chunk) else 0


def _find_longest(path: Path, group: int, columns: list[str]) -> dict[str, int]:
    """The length of the longest value in each column's dictionary, which is read without repeating any of it."""
    found = {}
    for name in columns:
        with pq.ParquetFile(path, read_dictionary=[name], buffer_size=2**20) as file:
            for table in file.iter_batches(1, row_groups=[group], columns=[name], use_threads=False):
                found[name] = max((_find_length(column) for column in table.columns), default=0)
                break
    pa.default_memory_pool().release_unused()
    return found


def _find_length(column: Any) -> int:
    """Over all values that are in memory, at whatever depth."""
    if isinstance(column, pa.DictionaryArray):
        return _find_length(column.dictionary)
    if isinstance(column, pa.StructArray):
        return max((_find_length(column.field(at)) for at in range(column.type.num_fields)), default=0)
    if isinstance(column, pa.ListArray | pa.LargeListArray | pa.MapArray):
        return _find_length(column.values)
    # Of all its values together where the length of each is not known.
    return max((len(value.as_buffer() or b"") for value in column), default=0) if hasattr(column, "type") else 0
