"""Long lists in statements of bearable length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

#: Keys in one statement: SQLite bears 32,766, and gains nothing past some hundreds.
_SIZE = 500


def batched(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """The keys, some hundreds at a time."""
    for start in range(0, len(keys), _SIZE):
        yield keys[start : start + _SIZE]
