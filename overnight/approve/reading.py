"""What has been read of a release so far, by whom, and what that says of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from overnight.approve.bounds import bound_bad, count_to_read
from overnight.ledger.draws import SEED, DrawnItem
from overnight.ledger.reviews import ReviewAnswer
from overnight.records import ReviewPolicy

#: Outcomes of answers whose verdicts count, as far as a later one has not ended the review.
COUNTED = ("more", "second")


@dataclass(frozen=True)
class Round:
    """An answer whose verdicts count, with what its items were."""

    answer: ReviewAnswer
    drawn: Mapping[int, DrawnItem]


@dataclass
class Reading:
    """All verdicts that count, by the positions of their rows."""

    n_rows: int
    policy: ReviewPolicy
    #: Read at random: they alone feed the bound.
    random: set[int] = field(default_factory=set)
    #: Not as they should be: called wrong, unsure, or corrected.
    bad: set[int] = field(default_factory=set)
    #: Rows that stay, with the verdict; and rows that leave otherwise, with their output.
    held: dict[int, str] = field(default_factory=dict)
    corrected: dict[int, Any] = field(default_factory=dict)
    #: Who has read each row as it would leave.
    readers: dict[int, set[str]] = field(default_factory=dict)
    #: Somebody wants what nobody read to stay.
    holds_unread: bool = False

    @property
    def n_bad(self) -> int:
        """Rows of the random sample that are not as they should be."""
        return len(self.bad & self.random)

    @property
    def n_unread(self) -> int:
        """Rows that nobody was shown."""
        return self.n_rows - len(self.readers)

    def bound(self) -> int:
        """The most rows of all that may be wrong, with the policy's confidence."""
        return bound_bad(self.n_rows, len(self.random), self.n_bad, _get(self.policy.confidence))

    def count_missing(self) -> int:
        """How many rows more have to be read at random before those that nobody read may leave."""
        share = _get(self.policy.max_bad_share)
        if not self.n_unread:
            return 0
        needed = count_to_read(self.n_rows, self.n_bad, _get(self.policy.confidence), share) if share else None
        # With a share of none, and where the sample shows too many wrong ones, what remains is to read every row.
        return max(0, (self.n_rows if needed is None else needed) - len(self.random))

    def find_unconfirmed(self) -> list[int]:
        """Rows that may leave once enough people have read them, and have not been read by so many yet."""
        n = _get(self.policy.n_reviewers)
        return sorted(p for p, names in self.readers.items() if p not in self.held and len(names) < n)

    def add(self, given: Round) -> None:
        """Take a round's verdicts in; those on seeds say nothing of their rows."""
        self.holds_unread |= given.answer.decision == "hold"
        for number, drawn in given.drawn.items():
            if drawn.stratum != SEED:
                self._add_verdict(drawn, given.answer.verdicts[str(number)], given.answer.reviewer)

    def _add_verdict(self, drawn: DrawnItem, verdict: Any, reviewer: str) -> None:
        at = drawn.position
        if drawn.stratum == "random":
            self.random.add(at)
        readers = self.readers.setdefault(at, set())
        if isinstance(verdict, Mapping) and "corrected" in verdict:
            # Whoever read it before has not read this.
            readers.clear()
            self.corrected[at] = verdict["corrected"]
            self.bad.add(at)
        elif (word := name_verdict(verdict)) != "correct":
            self.held[at] = word
            self.bad.add(at)
        readers.add(reviewer)


def name_verdict(verdict: Any) -> str:
    """The word of a recorded verdict: correct, corrected, wrong or unsure."""
    return str(next(iter(verdict))) if isinstance(verdict, Mapping) else str(verdict)


def read_rounds(n_rows: int, policy: ReviewPolicy, rounds: Iterable[Round]) -> Reading:
    """What the rounds come to together."""
    reading = Reading(n_rows, policy)
    for one in rounds:
        reading.add(one)
    return reading


def _get(value: Any) -> Any:
    assert value is not None, "a recorded policy has all of its values"  # noqa: S101 - narrows the type
    return value
