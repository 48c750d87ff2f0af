"""Intake: a source becomes batches of rows, streamed and pinned as parts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from urllib.parse import unquote

from overnight.failures import InputRefused
from overnight.intake.batches import cut_batches
from overnight.intake.chain import chain_rows
from overnight.intake.csv_rows import read_csv_rows
from overnight.intake.jsonl_rows import read_jsonl_rows
from overnight.intake.local import find_local_files
from overnight.intake.parquet_rows import read_parquet_rows
from overnight.intake.remote import check_url, find_remote_files
from overnight.intake.source_files import SourceFile
from overnight.intake.source_rows import Columns, Numbering, SourceRow
from overnight.place import PartsPlace
from overnight.records import Batch

__all__ = ["chain_rows", "check_source", "read_batches"]

_READERS = {"csv": read_csv_rows, "jsonl": read_jsonl_rows, "parquet": read_parquet_rows}
_FILE = "file://"


def read_batches(
    source: str,
    *,
    id_column: str | None,
    inputs: tuple[str, ...],
    optional_inputs: tuple[str, ...],
    place: PartsPlace,
    limit: int | None = None,
) -> Iterator[Batch]:
    """
    Stream the source as batches, each written as a part; batch n has 500·2^((n-1)//100) rows, or 16 MB of them.

    Args:
        source: A file of CSV, JSON lines or parquet, a folder or a pattern of such files, or a URL of either.
        id_column: The column that names a row; None: its number from 1, counted on across files.
        inputs: Columns that must be there; a row without a value in one is quarantined.
        optional_inputs: Columns that may be absent or empty.
        place: Where parts are written.
        limit: Read this many rows at the most.

    Raises:
        InputRefused: The source cannot be read; at the first batch where its header tells.
    """
    files = find_remote_files(source) if _is_remote(source) else find_local_files(_make_path(source))
    columns, numbering = Columns(id_column, inputs, optional_inputs), Numbering()
    n_rows = 0
    # Closed by hand: a consumer that stops early leaves neither an open file nor the table of ids.
    with closing(_read_files(files, columns, numbering)) as rows:
        for batch in cut_batches(islice(rows, limit), columns, place, numbering):
            n_rows += batch.n_rows
            yield batch
    if n_rows == 0 and limit != 0:
        raise InputRefused(f"{source} has no rows. Give a source with at least one row.")


def check_source(source: str) -> None:
    """
    Refuse what must not be recorded, before anything is.

    Raises:
        InputRefused: A URL that holds a credential, or is none that can be read.
    """
    if _is_remote(source):
        check_url(source)


def _is_remote(source: str) -> bool:
    return "://" in source and not source.lower().startswith(_FILE)


def _make_path(source: str) -> str:
    return unquote(source[len(_FILE) :]) if source.lower().startswith(_FILE) else source


def _read_files(files: list[SourceFile], columns: Columns, numbering: Numbering) -> Generator[SourceRow, None, None]:
    number = 0
    for file in files:
        if len(files) > 1:
            numbering.begin(file.name, number)
        number = yield from _READERS[file.kind.reader](file, columns, numbering)
