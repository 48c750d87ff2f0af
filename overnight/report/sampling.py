"""Which rows are in a sample: decided by each row alone, so that the same rows give the same sample."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

from overnight.keys import digest_bytes

T = TypeVar("T")
#: Places are spread evenly, not exactly so: of so many more rows than are kept, hardly ever too few are in reach.
_REACH = 1.25
_N_PLACES = 16**12


def find_place(row_id: str, given: str | None) -> float:
    """
    Where a row stands in an order like one by chance, from 0 to 1.

    By its id too: rows that repeat one text are then in the sample as often as among all rows. Its request would
    place them all at once, inside or outside.
    """
    return int(digest_bytes(f"{row_id}\0{given}".encode())[:12], 16) / _N_PLACES


class Sample(Generic[T]):
    """
    What was found of the rows that stand first; never of more than it was made for.

    Args:
        n: How many it keeps.
        n_rows: Of how many rows about.
    """

    def __init__(self, n: int, n_rows: int) -> None:
        self._n = n
        self._reach = _REACH * n / max(n_rows, 1)
        #: A heap, the last place first; the number keeps two values of one place from being compared.
        self._kept: list[tuple[float, int, T]] = []
        self._number = 0

    def wants(self, place: float) -> bool:
        """Whether a row that stands there would be in it; one that is not need not be looked at."""
        return place < self._reach and (len(self._kept) < self._n or place < -self._kept[0][0])

    def take(self, place: float, value: T) -> None:
        """What was found of a row that it wants."""
        self._number += 1
        keep = heapq.heappush if len(self._kept) < self._n else heapq.heapreplace
        keep(self._kept, (-place, self._number, value))

    @property
    def values(self) -> list[T]:
        """Of the rows that are in it, in no order."""
        return [value for _, _, value in self._kept]
