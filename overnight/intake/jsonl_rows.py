"""Rows of a file of JSON lines, streamed; a line that cannot be taken costs its own row."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any, BinaryIO

from overnight.failures import InputRefused
from overnight.intake.json_lines import UnfitLine, parse_line
from overnight.intake.opened import open_stream
from overnight.intake.source_files import SourceFile
from overnight.intake.source_rows import Columns, Fault, Numbering, SourceRow, check_columns, make_id
from overnight.taxonomy import FailureClass

#: Of one line. The rest of a longer one is passed over unread.
MOST_BYTES = 2**24
#: Rows, and bytes of rows, in which each column that the prompt declares has to occur.
_FIRST_ROWS, _FIRST_BYTES = 100, 2**24
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_jsonl_rows(file: SourceFile, columns: Columns, numbering: Numbering) -> Generator[SourceRow, None, int]:
    """
    Stream the objects, one a line; blank lines are no rows.

    Returns:
        The number of the last row.

    Raises:
        InputRefused: The file cannot be read, or none of its first rows has a declared column.
    """
    number = numbering.n_before
    with open_stream(file) as stream:
        lines = _read_lines(stream, file)
        names = (*columns.inputs, *columns.optional_inputs)
        for value in chain(_read_first(lines, columns, file), map(_parse, lines)):
            number += 1
            yield _make_row(number, value, columns, names, numbering)
    return number


def _read_lines(stream: BinaryIO, file: SourceFile) -> Iterator[bytes | None]:
    """Each line that is not blank; None for one that is too long."""
    n_lines = 0
    try:
        line = stream.readline(MOST_BYTES + 1)
        if encoding := _OTHER_ENCODINGS.get(line[:2]):
            raise InputRefused(f"{file.name} is {encoding}. Save it as JSON lines in UTF-8.")
        line = line.removeprefix(_BYTE_ORDER_MARK)
        while line:
            if len(line) > MOST_BYTES:
                _pass_over(stream, line)
                yield None
            elif not line.isspace():
                yield line
            n_lines += 1
            line = stream.readline(MOST_BYTES + 1)
    except OSError as error:
        raise InputRefused(
            f"{file.name} cannot be read past line {n_lines} ({error.strerror}). Copy it to a sound disk and run again."
        ) from error


def _pass_over(stream: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = stream.readline(2**20)


def _read_first(lines: Iterator[bytes | None], columns: Columns, file: SourceFile) -> list[dict[str, Any] | UnfitLine]:
    """As many of the first lines as it takes to see each declared column."""
    held: list[dict[str, Any] | UnfitLine] = []
    seen: dict[str, None] = {}
    n_bytes = 0
    for line in lines:
        value = _parse(line)
        held.append(value)
        seen |= dict.fromkeys(value if isinstance(value, dict) else ())
        n_bytes += len(line or b"")
        if len(held) >= _FIRST_ROWS or n_bytes >= _FIRST_BYTES or all(name in seen for name in columns.required):
            break
    # Where not one of them is an object, each is set aside with its own reason.
    if seen:
        check_columns(list(seen), columns, f"{file.name}, in its first {len(held):,} rows,")
    return held


def _parse(line: bytes | None) -> dict[str, Any] | UnfitLine:
    if line is None:
        return UnfitLine(f"has more than {MOST_BYTES:,} bytes", FailureClass.TOO_LARGE)
    try:
        return parse_line(line)
    except UnfitLine as unfit:
        return unfit


def _make_row(
    number: int, value: dict[str, Any] | UnfitLine, columns: Columns, names: tuple[str, ...], numbering: Numbering
) -> SourceRow:
    if isinstance(value, UnfitLine):
        reason = f"{numbering.name(number)} {value}. Mend that line: each is one JSON object in UTF-8."
        return SourceRow(number, None, None, Fault(value.failure_class, reason))
    row_id = None
    if columns.id is not None:
        row_id = value.get(columns.id)
        if type(row_id) is not str:
            if isinstance(row_id, bool | list | dict):
                reason = (
                    f"{numbering.name(number)} has a {type(row_id).__name__} as its id. Give it a text or a number."
                )
                return SourceRow(number, None, None, Fault(FailureClass.EMPTY_ID, reason))
            row_id = make_id(row_id)
    return SourceRow(number, row_id, {name: value.get(name) for name in names})
