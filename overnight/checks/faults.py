"""What is wrong with a row, for people and for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from overnight.taxonomy import FailureClass


@dataclass(frozen=True)
class RowFault:
    """A row rule that a row failed."""

    #: `rule(field)`.
    label: str
    #: One line, for people.
    reason: str
    #: For the model: what was wrong and what to give instead; holds no text of the row's input, which is untrusted.
    complaint: str
    failure_class: FailureClass
    #: The value is allowed where it stays after asking once more.
    is_soft: bool = False


class Finding(NamedTuple):
    """What one rule found."""

    reason: str
    complaint: str
    is_soft: bool = False
