"""What came from rows or models, as text that does nothing but be read."""

from __future__ import annotations

import shutil
import unicodedata
from typing import Any

import orjson

from overnight.records import Release

#: Under the name of the value, so that no line of it looks like one of ours.
_INDENT = "\n        "
#: What a delivery does at a sink, by its operation.
_OPERATIONS = {
    "replace": "A release replaces what is there whole.",
    "create": "A release is written beside the others, and overwrites nothing.",
    "upsert": "A row takes the place of the one with its id.",
}
_EFFECTS = {
    "reversible": "It can be undone: `overnight recall RELEASE`.",
    "irreversible": "What has been sent cannot be undone.",
}


#: Columns of a text for the terminal: at most, and where nobody reads it in one; and at the least.
_MOST_COLUMNS, _LEAST_COLUMNS = 100, 80


def find_width() -> int:
    """How many columns a text for the terminal may take."""
    columns = shutil.get_terminal_size((_MOST_COLUMNS, 24)).columns
    return max(_LEAST_COLUMNS, min(columns, _MOST_COLUMNS))


def describe_effect(release: Release) -> str:
    """What releasing does, before somebody decides."""
    known = (_OPERATIONS.get(release.operation), _EFFECTS.get(release.effect))
    return " ".join(text for text in known if text)


def describe_task(release: Release) -> str:
    """What waits, and what a reviewer is asked."""
    n = len(release.items)
    return f"To be sent to {release.sink}: {release.n_rows:,} rows. You are shown {n} items. {describe_seeds(release)}"


def describe_seeds(release: Release) -> str:
    """What reviewers are told of the seeds: that they are there."""
    n = release.n_seeds
    return f"{n} of the items {'was' if n == 1 else 'were'} made to be plainly wrong, to see that they are read."


def describe_private(release: Release) -> str:
    """What stands in place of values that nobody is shown; empty where nothing is hidden."""
    if not release.private:
        return ""
    names = " and ".join(f'"[private: {name}]"' for name in release.private)
    return (
        f"{names} stand{'s' if len(release.private) == 1 else ''} for a value that is hidden from readers: leave it as"
        " it is in a correction, and the value stays."
    )


def show_value(value: Any) -> str:
    """A value for the terminal: control characters, which could hide text from its reader, by their codes."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return "".join(_show(c) for c in text).replace("\n", _INDENT)


def _show(character: str) -> str:
    if character == "\n" or unicodedata.category(character)[0] != "C":
        return character
    return ascii(character)[1:-1]
