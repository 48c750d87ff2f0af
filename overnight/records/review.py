"""What a person is shown and decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ReviewPolicy:
    """
    How much of a release people read before rows leave that nobody read.

    None stands for the default: of the sink's effect, or of the settings for the two durations.
    """

    #: How sure the bound is, such as 0.95.
    confidence: float | None = None
    #: The most of all rows that may be wrong, as far as can be told from those read; 0: every row is read.
    max_bad_share: float | None = None
    #: Seeds in each round.
    n_seeds: int | None = None
    #: People who each read what leaves.
    n_reviewers: int | None = None
    #: How long a run waits for them, in days, and how long an approval lives, in hours.
    waits_d: float | None = None
    expires_h: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A row with its answer, as a draw looks at it."""

    row_id: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    #: What a check warned of; None: nothing.
    warning: str | None = None
    #: It was asked more than once because an answer did not do, or by another model than the prompt's own.
    was_reasked: bool = False
    #: Somebody called the same bytes wrong or unsure on an earlier night.
    is_doubted: bool = False


@dataclass(frozen=True)
class ReviewItem:
    """One row to be read: whole in the ledger, without its private values wherever it is shown."""

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
    #: What is to be read in this round; how many of the items are seeds.
    items: tuple[ReviewItem, ...]
    n_seeds: int
    #: With all of its values.
    policy: ReviewPolicy
    #: What the prompt declares private: the items show "[private: NAME]" in place of its values.
    private: tuple[str, ...] = ()


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
