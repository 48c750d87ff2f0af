"""One character in place of what is hidden: no way to make a seed takes it apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar

from overnight.masking import MARKS, map_texts

V = TypeVar("V")

#: No letter, no space, and in no text: Unicode leaves these code points to whoever wants them.
_FIRST = 0x100000


class Signs:
    """
    A character for each mark: half a mark in a seed would tell that it is one, and could not be put back.

    Args:
        private: Inputs, or fields of the output, whose values are not shown.
    """

    def __init__(self, private: Collection[str]) -> None:
        marks = ["[private]", *(mark.format(name) for name in sorted(private) for mark in MARKS)]
        self._signs = {mark: chr(_FIRST + n) for n, mark in enumerate(marks)}

    def put(self, value: V) -> V:
        """A value of JSON with signs for its marks."""
        signed: V = map_texts(value, lambda text: _replace(text, self._signs.items()))
        return signed

    def take(self, value: V) -> V:
        """A value of JSON with marks for its signs."""
        marked: V = map_texts(value, lambda text: _replace(text, ((s, mark) for mark, s in self._signs.items())))
        return marked


def _replace(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text
