"""What somebody has in hand of a row: its id, a key, or a line of a file that it was written to."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from overnight.failures import OvernightError

#: Digits that a part of a request key needs at the least, and those of a whole one.
_LEAST_DIGITS, _N_DIGITS = 8, 64
#: No file has a line whose number is longer, and Python reads no number of any length.
_LINE_OF_FILE = re.compile(r"(?P<file>.+):(?P<number>[1-9]\d{0,17})", re.DOTALL)
_FORM = 'Give a line of an output file: a JSON object with "request_key" or "row_id".'


@dataclass(frozen=True)
class Start:
    """Where to begin: at least one of them is known."""

    row_id: str | None = None
    #: A whole request key; certain.
    request_key: str | None = None
    #: Hex digits that may be a request key or a delivery key, whole, or the first digits of a request key.
    digits: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the digits are a key, and not the beginning of one."""
        return len(self.digits or "") == _N_DIGITS


def read_start(given: str) -> Start:
    """
    What `given` names: `FILE:LINE` of a file that is there, a line of one, digits of a key, or a row's id.

    Raises:
        OvernightError: The file has no such line, or the line is no row that was written.
    """
    if (match := _LINE_OF_FILE.fullmatch(given)) and _is_file(Path(match["file"])):
        return _read_row(_find_line(Path(match["file"]), int(match["number"])), given)
    if given.lstrip().startswith("{"):
        return read_line(given, "What was given")
    is_hex = re.fullmatch(rf"[0-9a-fA-F]{{{_LEAST_DIGITS},{_N_DIGITS}}}", given)
    return Start(row_id=given, digits=given.lower() if is_hex else None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # a name that no file can have, such as one that is too long: a row's id may look like any


def read_line(text: str | bytes, where: str) -> Start:
    """
    What one line of an output file names.

    Raises:
        OvernightError: It is no row that was written.
    """
    try:
        row = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise OvernightError(f"{where} is not JSON ({error}). {_FORM}") from error
    return _read_row(row, where)


def _read_row(row: Any, where: str) -> Start:
    if isinstance(row, Mapping):
        key, row_id = row.get("request_key"), row.get("row_id")
        if isinstance(key, str) and re.fullmatch(rf"[0-9a-f]{{{_N_DIGITS}}}", key):
            return Start(row_id=None if row_id is None else str(row_id), request_key=key)
        if row_id is not None:
            return Start(row_id=str(row_id))
    raise OvernightError(f"{where} names no row. {_FORM}")


def _find_line(path: Path, number: int) -> Any:
    try:
        if path.suffix == ".csv":
            found = _find_csv_row(path, number)
        elif path.suffix == ".parquet":
            found = _find_parquet_row(path, number)
        else:
            with path.open("rb") as file:
                line = next(islice(file, number - 1, None), None)
            found = None if line is None else orjson.loads(line)
    except (OSError, ValueError, csv.Error) as error:
        raise OvernightError(f"{path}:{number} cannot be read ({' '.join(str(error).split())}). {_FORM}") from error
    if found is None:
        raise OvernightError(f"{path} has no row {number}. Rows count from 1, without a header.")
    return found


def _find_csv_row(path: Path, number: int) -> dict[str, str] | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        row = next(islice(csv.DictReader(file), number - 1, None), None)
    # A cell that a spreadsheet could have computed was written behind an apostrophe.
    return row and {name: re.sub(r"^'(?=[=+\-@\t\r\0])", "", value or "") for name, value in row.items() if name}


def _find_parquet_row(path: Path, number: int) -> dict[str, Any] | None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - pyarrow's errors are ValueErrors or OSErrors

    with pq.ParquetFile(path) as file:
        wanted = [n for n in ("row_id", "request_key") if n in file.schema_arrow.names]
        table = file.read(columns=wanted, use_threads=False)
    return dict(table.slice(number - 1, 1).to_pylist()[0]) if number <= table.num_rows else None
