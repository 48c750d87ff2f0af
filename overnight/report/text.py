"""What came from rows or models, as text that does nothing but be read."""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson

#: Under the name of the value, so that no line of it looks like one of ours.
_INDENT = "\n        "


def show_value(value: Any) -> str:
    """A value for the terminal: control characters, which could hide text from its reader, by their codes."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return "".join(_show(c) for c in text).replace("\n", _INDENT)


def _show(character: str) -> str:
    if character == "\n" or unicodedata.category(character)[0] != "C":
        return character
    return ascii(character)[1:-1]
