"""Intake: a source becomes batches of rows, streamed and pinned as parts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import cast
from urllib.parse import unquote

from overnight.failures import InputRefused
from overnight.intake.batches import cut_batches
from overnight.intake.chain import chain_rows
from overnight.intake.csv_rows import read_csv_rows
from overnight.intake.parquet_rows import read_parquet_rows
from overnight.intake.source_rows import Columns, SourceRow
from overnight.records import Batch

__all__ = ["chain_rows", "read_batches"]

_READERS = {".csv": read_csv_rows, ".parquet": read_parquet_rows}


def read_batches(
    source: str,
    *,
    id_column: str | None,
    inputs: tuple[str, ...],
    optional_inputs: tuple[str, ...],
    home: Path,
    limit: int | None = None,
) -> Iterator[Batch]:
    """
    Stream the source as batches, each written as a part; batch n has 500·2^((n-1)//100) rows.

    Args:
        source: A .csv or .parquet file, as a path or a file:// address.
        id_column: The column that names a row; None: its number from 1.
        inputs: Columns that must be there; a row without a value in one is quarantined.
        optional_inputs: Columns that may be absent or empty.
        home: Where parts are written.
        limit: Read this many rows at the most.

    Raises:
        InputRefused: The source cannot be read; at the first batch where its header tells.
    """
    path = _find_file(source)
    columns = Columns(id_column, inputs, optional_inputs)
    n_rows = 0
    # Closed by hand: a consumer that stops early leaves neither an open file nor the table of ids.
    reader = cast("Generator[SourceRow]", _READERS[path.suffix.lower()](path, columns))
    with closing(reader) as rows:
        for batch in cut_batches(islice(rows, limit), columns, home):
            n_rows += batch.n_rows
            yield batch
    if n_rows == 0 and limit != 0:
        raise InputRefused(f"{path} has a header but no rows. Give a file with at least one row.")


def _find_file(source: str) -> Path:
    path = Path(unquote(source.removeprefix("file://")) if source.startswith("file://") else source)
    if path.suffix.lower() not in _READERS or "://" in source.removeprefix("file://"):
        raise InputRefused(
            f"The source {source!r} is of no kind that can be read. Give a .csv or .parquet file, by path or file://."
        )
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except IsADirectoryError as error:
        raise InputRefused(f"{path} is a folder. Give one .csv or .parquet file in it.") from error
    except OSError as error:
        raise InputRefused(
            f"{path} cannot be opened ({error.strerror}). Check the path, which is relative to {Path.cwd()}."
        ) from error
    if is_empty:
        raise InputRefused(f"{path} is empty. Give a file with a header and at least one row.")
    return path
