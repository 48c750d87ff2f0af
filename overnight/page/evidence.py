"""The evidence: where the words of an answer stand in what it was made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

#: Shorter ones stand everywhere.
_LEAST = 4
#: Longer ones are no names or quotes, and are looked for piece by piece.
_MOST = 2000
#: Quotation marks, also the plain one where it is no apostrophe, and what stands for something left out.
_QUOTES = re.compile(r"[\"“”„‟«»‹›「」]|(?<!\w)['‘’‚]|['‘’](?!\w)|…|\.{3}")  # noqa: RUF001 - they are what is looked for
#: From here on, scripts are written without spaces between words.
_UNSPACED = "\u2e80"
_EDGES = " \t\r\n.,;:!?()[]"


@dataclass(frozen=True)
class Piece:
    """A stretch of a text, and whether it is evidence."""

    text: str
    is_marked: bool = False


@dataclass(frozen=True)
class Field:
    """A named value as it is read: the pieces together are its text."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def is_short(self) -> bool:
        """Whether it is a label more than a text."""
        text = "".join(piece.text for piece in self.pieces)
        return len(text) <= 32 and "\n" not in text  # noqa: PLR2004 - a line of a narrow column


def mark_evidence(given: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[list[Field], list[Field]]:
    """The fields of input and output, with what stands in both marked in both."""
    inputs = {name: show_text(value) for name, value in given.items()}
    outputs = {name: show_text(value) for name, value in output.items()}
    phrases = dict.fromkeys(phrase for text in _list_strings(output) for phrase in _list_phrases(text))
    found = [p for p in map(_make_pattern, phrases) if any(p.search(text) for text in inputs.values())]
    return _mark(inputs, found), _mark(outputs, found)


def show_text(value: Any) -> str:
    """A value as text: a string as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    is_flat = not isinstance(value, dict) and not (isinstance(value, list) and any(map(_is_nested, value)))
    return orjson.dumps(value, default=str, option=None if is_flat else orjson.OPT_INDENT_2).decode()


def show_codes(text: str) -> str:
    """The text with control characters, which could hide a part of it from its reader, by their codes."""
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else ascii(c)[1:-1] for c in text)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _list_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _list_strings(inner)


def _list_phrases(text: str) -> Iterator[str]:
    for phrase in (text, *_QUOTES.split(text)):
        if _LEAST <= len(plain := phrase.strip(_EDGES)) <= _MOST:
            yield plain


def _make_pattern(phrase: str) -> re.Pattern[str]:
    """Verbatim but for case and line breaks; a single word is not found within another."""
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    is_word = phrase.isalnum() and max(phrase) < _UNSPACED
    return re.compile(rf"\b{words}\b" if is_word else words, re.IGNORECASE)


def _mark(texts: Mapping[str, str], patterns: Iterable[re.Pattern[str]]) -> list[Field]:
    patterns = list(patterns)
    return [Field(name, tuple(_cut(text, patterns))) for name, text in texts.items()]


def _cut(text: str, patterns: Iterable[re.Pattern[str]]) -> Iterator[Piece]:
    spans = sorted(match.span() for pattern in patterns for match in pattern.finditer(text))
    at = 0
    for start, end in _merge(spans):
        if start > at:
            yield Piece(show_codes(text[at:start]))
        yield Piece(show_codes(text[start:end]), is_marked=True)
        at = end
    if at < len(text):
        yield Piece(show_codes(text[at:]))


def _merge(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that overlap or touch as one."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    yield from merged
