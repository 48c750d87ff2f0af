"""What a row looks like to each kind of sink: inert there, whatever the model wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from overnight.keys import canonical_json
from overnight.payloads.mail import write_mail
from overnight.payloads.names import kind_of

#: What makes a spreadsheet take a cell for a formula, or read past its end.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\0")


def write_body(row: Mapping[str, Any], *, sink: str) -> bytes:
    """
    A row's bytes for a sink, given by its name.

    JSON is inert, and so is a bound parameter. Where a spreadsheet may open the file, what would be a formula is made
    text; a database that bears no NUL is given none; mail is plain text.
    """
    kind = kind_of(sink)
    if kind == "mail":
        return write_mail(row)
    if kind == "sql":
        row = _map_texts(row, lambda text: text.replace("\0", ""))
    elif PurePosixPath(sink).suffix == ".csv":
        row = _map_texts(row, _disarm)
    return canonical_json(row)


def _disarm(text: str) -> str:
    """The text as a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _map_texts(inner, change) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_map_texts(inner, change) for inner in value]
    return value
