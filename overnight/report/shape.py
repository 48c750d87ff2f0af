"""What is kept of a text or an answer in place of itself: lengths, and which fields of which kind it has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

#: Where the bins of a histogram of lengths begin: 0, 1, then each about 1.4 times the one before.
LENGTH_BINS = (0, *sorted({round(2 ** (at / 2)) for at in range(42)}))
#: Objects within objects that are told apart.
_DEPTH = 4


def find_bin(length: int) -> int:
    """The bin that a length falls into, by its place in `LENGTH_BINS`."""
    return bisect_right(LENGTH_BINS, length) - 1


def describe_shape(value: Any, depth: int = 0) -> str:
    """The kind of a value of JSON, of an object with its keys, such as "{intent:text,tags:[2+ text]}"; no content."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "text" if value else "empty text"
        case Mapping():
            return _describe_object(value, depth)
        case _:
            return _describe_list(value, depth)


def _describe_object(value: Mapping[str, Any], depth: int) -> str:
    if depth >= _DEPTH:
        return "{…}"
    return "{" + ",".join(f"{name}:{describe_shape(value[name], depth + 1)}" for name in sorted(value)) + "}"


def _describe_list(value: list[Any], depth: int) -> str:
    """Lengths as powers of two: 0, 1, 2+, 4+, 8+ and so on."""
    if not value:
        return "[]"
    kinds = sorted({describe_shape(item, depth + 1) for item in value}) if depth < _DEPTH else ["…"]
    n = 1 << (len(value).bit_length() - 1)
    return f"[{n}{'+' if n > 1 else ''} {'|'.join(kinds)}]"
