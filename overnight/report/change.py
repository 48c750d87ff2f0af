"""A difference between two runs, as it is told and kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Change:
    """One thing that differs from the run before by more than its limit."""

    #: "output.intent", "input.query.length", "rate.refusals".
    what: str
    measure: Literal["psi", "ks", "share", "rate", "gone"]
    #: Of "share", "rate" and "gone" in percentage points.
    value: float
    limit: float
    severity: Literal["hold", "warning"]
    n_before: int
    n_after: int
    #: How likely it is where nothing has changed, after correction for the number of things compared.
    p: float
    #: Of "share": the value whose share it is, and the one that rose when it fell.
    of: str | None
    instead: str | None
    #: One line, without text of a row.
    words: str
