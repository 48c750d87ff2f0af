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

    #: Times that the random sample was large enough and showed too much: each makes the next look stricter.
    n_looks: int = 0

    @property
    def n_bad(self) -> int:
        """Rows of the random sample that are not as they should be."""
        return len(self.bad & self.random)

    @property
    def n_unread(self) -> int:
        """Rows that nobody was shown."""
        return self.n_rows - len(self.readers)

    @property
    def confidence(self) -> float:
        """
        How sure one can be over all looks: whoever reads on until the bound fits is fooled more often than at one look.

        The first look may err as often as the policy allows, each further one half as often as the one before.
        """
        return 1 - (1 - float(_get(self.policy.confidence))) * (2 - 0.5**self.n_looks)

    def bound(self) -> int:
        """The most rows of all that may be wrong, as this look sees it."""
        return bound_bad(self.n_rows, len(self.random), self.n_bad, self._sureness(self.n_looks))

    def count_missing(self) -> int:
        """How many rows more have to be read at random before those that nobody read may leave."""
        if not self.n_unread or self._is_met():
            return 0
        needed = self._count_needed(self.n_bad, self._next_look())
        # With a share of none, and where the sample shows too many wrong ones, what remains is to read every row.
        return max(0, (self.n_rows if needed is None else needed) - len(self.random))

    def _is_met(self) -> bool:
        needed = self._count_needed(self.n_bad, self.n_looks)
        return needed is not None and needed <= len(self.random)

    def _next_look(self) -> int:
        """Which look the next round is: a sample that was split over rounds is looked at once it is whole."""
        planned = self._count_needed(0, self.n_looks)
        return self.n_looks + (planned is not None and planned <= len(self.random))

    def _count_needed(self, n_bad: int, look: int) -> int | None:
        share = _get(self.policy.max_bad_share)
        return count_to_read(self.n_rows, n_bad, self._sureness(look), share) if share else None

    def find_sureness(self) -> float:
        """How sure the next round's look is by itself."""
        is_later = self.readers and not self._is_met()
        return self._sureness(self._next_look() if is_later else self.n_looks)

    def _sureness(self, look: int) -> float:
        return 1 - (1 - float(_get(self.policy.confidence))) * 0.5**look

    def find_unconfirmed(self) -> list[int]:
        """Rows that may leave once enough people have read them, and have not been read by so many yet."""
        n = _get(self.policy.n_reviewers)
        return sorted(p for p, names in self.readers.items() if p not in self.held and len(names) < n)

    def add(self, given: Round) -> None:
        """Take a round's verdicts in; those on seeds say nothing of their rows."""
        if self.readers and not self._is_met():
            self.n_looks = self._next_look()
        self.holds_unread |= given.answer.decision == "hold"
        for number, drawn in given.drawn.items():
            if drawn.stratum != SEED and (verdict := given.answer.verdicts.get(str(number))):
                self._add_verdict(drawn, verdict, given.answer.reviewer)

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
