"""The prompts that may be asked: the project's folders, read again when a file of one changes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs

from overnight.prompts import load_prompt
from overnight.records import Prompt
from overnight.serve.shapes import make_row_schema

#: Of a value that is none of several kinds, a validator says no more than that.
_UNKEPT = (
    "it is blank or null where the prompt needs words, of another type than its schema has, or holds a NUL or a"
    " whole number beyond 64 bits"
)

_Seen = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Asked:
    """A prompt, and what holds a row against the schema that is published for it."""

    prompt: Prompt

    @cached_property
    def _validator(self) -> Any:
        # Masked: the complaint names the field, and does not repeat what stands in it.
        return jsonschema_rs.validator_for(make_row_schema(self.prompt), mask="what it holds")

    def complain(self, row: Any) -> str | None:
        """What is wrong with a row, in one line; None where nothing is."""
        error = next(iter(self._validator.iter_errors(row)), None)
        if error is None:
            return None
        place = "/".join(["row", *map(str, error.instance_path)])
        return f"{place}: {_UNKEPT if error.kind.name == 'anyOf' else error.message[:500]}."


class Shelf:
    """
    The prompts of a folder.

    Args:
        folder: With a folder a prompt.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[_Seen, Asked]] = {}

    def list_names(self) -> list[str]:
        """The names of its prompts, whole and broken ones."""
        return sorted(path.parent.name for path in self._folder.glob("*/prompt.md"))

    def find(self, name: str) -> Asked | None:
        """
        The prompt of this name, as its files are now.

        Raises:
            PromptRefused: They are incomplete, or contradict each other.
        """
        # Compared with the names that are there: one from outside never becomes part of a path.
        if name not in self.list_names():
            return None
        with self._lock:
            seen = _look(self._folder / name)
            kept = self._kept.get(name)
            if kept is None or kept[0] != seen:
                kept = self._kept[name] = (seen, Asked(load_prompt(name, self._folder)))
            return kept[1]


def _look(folder: Path) -> _Seen:
    """What changes when a file of the prompt does."""
    found = []
    for path in folder.iterdir():
        if path.is_file():
            at = path.stat()
            found.append((path.name, at.st_mtime_ns, at.st_size, at.st_ino))
    return tuple(sorted(found))
