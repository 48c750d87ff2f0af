"""Rows of a CSV file, streamed; a row that cannot be read is handed on with its fault, never dropped."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator
from typing import TextIO

from overnight.failures import InputRefused
from overnight.intake.opened import open_stream
from overnight.intake.source_files import SourceFile
from overnight.intake.source_rows import Columns, Fault, Numbering, SourceRow, check_columns
from overnight.taxonomy import FailureClass

#: Characters in one row. A quote that is never closed would otherwise take the whole file into memory.
MOST_CHARACTERS = 2**24


class _Lines:
    """The lines of a file, which knows when the last one was taken."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._ended = False
        self._n_characters = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MOST_CHARACTERS)
        if not line:
            self._ended = True
            raise StopIteration
        self._n_characters += len(line)
        if self._n_characters >= MOST_CHARACTERS:
            raise csv.Error(f"it has more than {MOST_CHARACTERS} characters")
        return line

    def end_row(self) -> None:
        """Refuse a row that only the end of the file ended: the rows after its open quote would vanish in it."""
        if self._ended:
            raise csv.Error("a quote is opened and never closed")
        self._n_characters = 0


def read_csv_rows(file: SourceFile, columns: Columns, numbering: Numbering) -> Generator[SourceRow, None, int]:
    """
    Stream the rows after the header; blank lines are no rows.

    Returns:
        The number of the last row.

    Raises:
        InputRefused: The file is not CSV in UTF-8 with the declared columns.
    """
    csv.field_size_limit(MOST_CHARACTERS)
    # surrogateescape: one row with foreign bytes is quarantined; it does not end the night.
    with (
        open_stream(file) as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        records = _read_records(text, file)
        header = _read_header(records, file)
        check_columns(header, columns, file.name)
        names = columns.select_inputs(header)
        picked = [(name, header.index(name)) for name in names]
        id_at = header.index(columns.id) if columns.id is not None else None
        number = numbering.n_before
        for number, fields in enumerate(records, start=number + 1):  # noqa: B020 - it goes on from there
            fault = _find_fault(number, fields, header, numbering)
            if fault is not None:
                yield SourceRow(number, _find_id(fields, id_at), None, fault)
            else:
                row_id = fields[id_at] if id_at is not None else None
                yield SourceRow(number, row_id, {name: fields[at] for name, at in picked})
    return number


def _read_records(text: TextIO, file: SourceFile) -> Iterator[list[str]]:
    lines = _Lines(text)
    n_records = 0  # the header is record 0, so this is the number of the row that is being read
    try:
        for fields in csv.reader(lines):
            lines.end_row()
            if fields:
                yield fields
                n_records += 1
    except csv.Error as error:
        where = f"row {n_records}" if n_records else "the header"
        raise InputRefused(
            f"{file.name} cannot be read as CSV at {where}: {error}. Mend the quotes there and run again."
        ) from error
    except OSError as error:
        raise InputRefused(
            f"{file.name} cannot be read past row {n_records} ({error.strerror}). Copy it to a sound disk and run"
            " again."
        ) from error


def _read_header(records: Iterator[list[str]], file: SourceFile) -> list[str]:
    header = next(records, None)
    if header is None:
        raise InputRefused(f"{file.name} is empty. Give a CSV file with a header and at least one row.")
    for name in header:
        bad = _describe_bad_bytes(name)
        if bad:
            raise InputRefused(f"The header of {file.name} holds {bad}. Save the file as CSV in UTF-8.")
    return header


def _find_fault(number: int, fields: list[str], header: list[str], numbering: Numbering) -> Fault | None:
    text = "".join(fields)
    if text.isascii() and len(fields) == len(header) and "\0" not in text:
        return None
    if _describe_bad_bytes(text):
        at, bad = next((i, bad) for i, bad in enumerate(map(_describe_bad_bytes, fields)) if bad)
        column = f"column {header[at]!r}" if at < len(header) else f"field {at + 1}"
        return Fault(
            FailureClass.UNDECODABLE, f"{numbering.name(number)} holds {bad}, in {column}. Save the file as UTF-8."
        )
    if len(fields) != len(header):
        return Fault(
            FailureClass.RAGGED_ROW,
            f"{numbering.name(number)} has {len(fields)} fields where the header has {len(header)}. Quote fields"
            " that hold commas.",
        )
    return None


def _find_id(fields: list[str], id_at: int | None) -> str | None:
    if id_at is None or id_at >= len(fields) or _describe_bad_bytes(fields[id_at]):
        return None
    return fields[id_at]


def _describe_bad_bytes(text: str) -> str | None:
    if "\0" in text:
        return "byte 0x00 (NUL)"
    if text.isascii():
        return None
    # surrogateescape puts byte 0xNN at U+DCNN.
    escaped = next((c for c in text if "\udc80" <= c <= "\udcff"), None) if not _is_encodable(text) else None
    return f"byte 0x{ord(escaped) - 0xDC00:02x}, which is not UTF-8" if escaped else None


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
