"""One line as the JSON object that it is, strictly: nothing in it is lost, taken twice, or altered unseen."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import orjson

from overnight.taxonomy import FailureClass

#: Values that hold no number of more than 64 bits: read quickly, that would be a float.
_SURE = frozenset({str, int, bool, type(None)})
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_MOST_DIGITS = 20


class UnfitLine(ValueError):
    """The line is no object that can be taken: its message completes "Row 3 …"."""

    def __init__(self, said: str, failure_class: FailureClass = FailureClass.UNDECODABLE) -> None:
        super().__init__(said)
        self.failure_class = failure_class


def parse_line(line: bytes) -> dict[str, Any]:
    """
    The object; a whole number of more than 64 bits is its digits as text, as a decimal is in a parquet file.

    Raises:
        UnfitLine: It is not strict JSON in UTF-8, no object, or has a name twice.
    """
    try:
        value = orjson.loads(line)
        written = orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _parse_closely(line)
    if type(value) is not dict or _is_doubtful(line, written):
        return _parse_closely(line)
    if not _SURE.issuperset(map(type, value.values())) and _LONG_NUMBER.search(line):
        return _parse_closely(line)
    return value


def _is_doubtful(line: bytes, written: bytes) -> bool:
    # A name that stands twice is left out when it is written again, and its colon with it; unless one was escaped.
    if written.count(b":") != line.count(b":"):
        return True
    return b"\\u00" in line and (b"\\u003" in line or b"\\u0000" in line)


def _parse_closely(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise UnfitLine(f"holds byte 0x{error.object[error.start]:02x}, which is not UTF-8") from error
    if "\0" in text:
        raise UnfitLine("holds byte 0x00 (NUL)")
    try:
        value = json.loads(
            text, object_pairs_hook=_pair, parse_constant=_refuse_constant, parse_int=_read_int, parse_float=_read_float
        )
        _check_texts(value)
        orjson.dumps(value)
    except json.JSONDecodeError as error:
        raise UnfitLine(f"is not JSON ({error.msg} at its character {error.pos + 1})") from error
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise UnfitLine("is nested too deeply to be read") from error
    if not isinstance(value, dict):
        raise UnfitLine(f"is a JSON {_name_type(value)} and no object", FailureClass.RAGGED_ROW)
    return value


def _pair(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnfitLine(f"has {twice[:100]!a} twice in one object", FailureClass.RAGGED_ROW)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise UnfitLine(f"holds {name}, which is no JSON")


def _read_int(digits: str) -> int | str:
    if len(digits) > _MOST_DIGITS:
        return digits
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else digits


def _read_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise UnfitLine(f"holds the number {digits[:100]}, which is too large")
    return value


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for inner in value:
            _check_texts(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name)
            _check_texts(inner)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise UnfitLine("holds \\u0000 (NUL)")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnfitLine(f"holds \\u{ord(text[error.start]):04x}, half of a pair of surrogates") from error


def _name_type(value: Any) -> str:
    return {list: "array", str: "text", bool: "truth value", type(None): "null"}.get(type(value), "number")
