"""What a reader hands on: one row of the source as it stands, with what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from overnight.failures import InputRefused
from overnight.taxonomy import FailureClass


class Fault(NamedTuple):
    """Why a row is quarantined before any call."""

    failure_class: FailureClass
    reason: str


class SourceRow(NamedTuple):
    """One row of the source, counted from 1; a tuple because there may be millions."""

    number: int
    #: None where no id is declared or it cannot be read; may be empty.
    id: str | None
    #: The declared inputs that the source has; None where the row cannot be read.
    values: dict[str, Any] | None
    fault: Fault | None = None


@dataclass(frozen=True)
class Columns:
    """The columns that a prompt declares."""

    id: str | None
    inputs: tuple[str, ...]
    optional_inputs: tuple[str, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that the source must have."""
        return (*((self.id,) if self.id is not None else ()), *self.inputs)

    def select_inputs(self, names: Sequence[str]) -> tuple[str, ...]:
        """The declared inputs that the source has: an optional one may be absent."""
        return tuple(name for name in (*self.inputs, *self.optional_inputs) if name in names)


class Numbering:
    """The rows of a source as people are told of them: by their number in it, and in a file of several by that too."""

    def __init__(self, n_before: int = 0) -> None:
        #: Rows in the files before the one that is read.
        self.n_before = n_before
        self._begun: list[tuple[int, str]] = []

    def begin(self, file: str, n_before: int) -> None:
        """Another file of several."""
        self.n_before = n_before
        self._begun.append((n_before, file))

    def name(self, number: int) -> str:
        """Such as "Row 712", or "Row 712 (row 12 of b.csv)"."""
        n_before, file = next((begun for begun in reversed(self._begun) if begun[0] < number), (0, ""))
        return f"Row {number} (row {number - n_before} of {file})" if file else f"Row {number}"


def check_columns(names: Sequence[str], columns: Columns, file: str) -> None:
    """
    Refuse a source whose columns are not those that the prompt declares.

    Raises:
        InputRefused: Two columns share a name, or a declared one is missing.
    """
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise InputRefused(
            f"{file} has more than one column named {list_names(twice)}. Rename them so that each stands once."
        )
    missing = [name for name in columns.required if name not in names]
    if missing:
        raise InputRefused(
            f"{file} has no column {list_names(missing)}, which the prompt declares; it has {list_names(names)}. "
            "Rename the column, or change id and inputs in prompt.md."
        )


def list_names(names: Sequence[str], most: int = 20) -> str:
    """The names in quotes on one line, the first `most` of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def make_id(value: Any) -> str:
    """A row's id as text, empty where there is none."""
    if value is None:
        return ""
    # pandas makes floats of whole numbers when one of them is missing.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
