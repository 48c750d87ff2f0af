"""What a person is shown and decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ReviewItem:
    """One row that a reviewer is shown."""

    #: From 1.
    item: int
    row_id: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]


@dataclass(frozen=True)
class Release:
    """The checked rows of a run offered to one sink."""

    release_id: str
    run_id: str
    digest: str
    #: The sink's name, what a delivery does there, and whether it can be undone: "reversible" or "irreversible".
    sink: str
    operation: str
    effect: str
    n_rows: int
    #: How many answers to this release have been recorded so far.
    round: int
    items: tuple[ReviewItem, ...]


@dataclass(frozen=True)
class Approval:
    """A recorded decision to let rows of a release leave; minted by `overnight.approve.mint` alone."""

    approval_id: str
    run_id: str
    release_id: str
    release_digest: str
    #: Digest over the rows that may leave.
    allowed_digest: str
    sink: str
    n_allowed: int
    n_held: int
    reviewer: str
    #: "approved" or "consumed" at the moment of reading.
    state: str
    expires_at: datetime
