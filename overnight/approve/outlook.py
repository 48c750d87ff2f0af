"""What a round that is being read would come to, by counts alone: no item is told from another."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.approve.bounds import bound_bad, count_catches, count_to_read
from overnight.approve.history import find_history
from overnight.ledger.draws import SEED
from overnight.records import Release


@dataclass(frozen=True)
class Outlook:
    """What earlier rounds found, and what the open one is made of."""

    n_rows: int
    #: Rows that nobody will have been shown after this round.
    n_unread: int
    #: Read at random in earlier rounds, and how many of those were not as they should be.
    n_read: int
    n_bad: int
    #: Of this round: its items, how many of them are rows drawn at random, and how many are seeds.
    n_items: int
    n_random: int
    n_seeds: int
    #: As the policy wants it, and stricter at a later look.
    confidence: float
    max_bad_share: float

    def bound(self, n_answered: int, n_flagged: int) -> int:
        """
        The most rows of all that may be wrong, if every item that was flagged beyond the seeds is a wrong row.

        Args:
            n_answered: Items of this round that have a verdict; the rows drawn at random are taken to be their share.
            n_flagged: Those that were not called correct.
        """
        # Without items nothing was answered.
        n_read = self.n_read + self.n_random * n_answered // max(self.n_items, 1)
        return bound_bad(self.n_rows, n_read, min(self._count_bad(n_flagged), n_read), self.confidence)

    def count_missing(self, n_flagged: int) -> int:
        """How many rows more would have to be read after this round, at best, before unread ones may leave."""
        if not self.n_unread:
            return 0
        needed = count_to_read(self.n_rows, self._count_bad(n_flagged), self.confidence, self.max_bad_share)
        return max(0, (self.n_rows if needed is None else needed) - self.n_read - self.n_random)

    @property
    def n_to_catch(self) -> int:
        """Seeds that have to be flagged for the round to count."""
        return count_catches(self.n_seeds)

    def _count_bad(self, n_flagged: int) -> int:
        return self.n_bad + max(0, n_flagged - self.n_seeds)


def find_outlook(connection: sa.Connection, release: Release) -> Outlook:
    """The outlook of the round that is open."""
    history = find_history(connection, release)
    drawn = list(history.draw.drawn.values()) if history.draw else []
    reading, policy = history.reading, release.policy
    shown = {d.position for d in drawn if d.stratum != SEED}
    return Outlook(
        n_rows=release.n_rows,
        n_unread=release.n_rows - len(shown | reading.readers.keys()),
        n_read=len(reading.random),
        n_bad=reading.n_bad,
        n_items=len(drawn),
        n_random=sum(d.stratum == "random" for d in drawn),
        n_seeds=sum(d.stratum == SEED for d in drawn),
        confidence=reading.find_sureness(),
        max_bad_share=policy.max_bad_share or 0.0,
    )
