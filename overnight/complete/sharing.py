"""The part of a process in limits that hold for all of a ledger together."""

from __future__ import annotations

from collections.abc import Iterable

from overnight.ledger.shares import AskingNow
from overnight.llm import Limiter, Rates


class Shares:
    """
    Equal parts for all who are asking: a part shrinks at once, and grows when two looks show that others have ended.

    So one who pauses between two batches is not taken for gone.

    Args:
        limiter: Gives the slots; its upper end is this process's part.
        most: Calls in flight of all together.
    """

    def __init__(self, limiter: Limiter, most: int) -> None:
        self._limiter = limiter
        self._most = most
        self._before: AskingNow = {}
        self._n_expected = 1

    def expect(self, n: int) -> None:
        """Before anybody has been seen: so many processes begin together."""
        self._n_expected = n
        self._limiter.set_most(max(self._most // n, 1))

    def heed(self, asking: AskingNow, me: int, rates: Iterable[tuple[str, Rates]]) -> None:
        """
        Divide anew.

        Args:
            asking: Who is asking which models now.
            me: This process's number.
            rates: This process's limits a minute, each with its model.
        """
        both = {
            who: asking.get(who, frozenset()) | self._before.get(who, frozenset()) for who in [*asking, *self._before]
        }
        self._before = asking
        others = sorted(who for who, models in both.items() if who != me and not _are_local(models))
        n = max(len(others) + 1, self._n_expected)
        # What does not divide goes to the first of them, one each.
        place = sum(other < me for other in others)
        self._limiter.set_most(max(self._most // n + (place < self._most % n), 1))
        for model, each in rates:
            each.share(max(1 + sum(model in both[other] for other in others), self._n_expected))
        # Whoever was expected and has not come by the next look is not coming.
        self._n_expected = 1


def _are_local(models: frozenset[str]) -> bool:
    """Whoever asks embedded models alone sends nothing out."""
    return bool(models) and all(model.startswith("local:") for model in models)
