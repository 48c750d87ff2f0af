"""One column of the inputs: its values are counted until they are too many to be those of a category."""

from __future__ import annotations

from collections import Counter
from typing import Any

from overnight.report.profile import MAX_CATEGORY, MAX_VALUES, N_SPREAD, Counts, Spread
from overnight.report.rare import hide_rare
from overnight.report.sampling import Sample

#: A column is a category where so many rows share a value on average.
_ROWS_PER_VALUE = 3


class Column:
    """Takes its values in, one a row."""

    def __init__(self, n_rows: int) -> None:
        self._values: Counter[str] | None = Counter()
        #: Of each row of the sample the hash of its value, by which values are told apart; None: it is too long.
        self._sample: Sample[int | None] = Sample(N_SPREAD, n_rows)

    def take(self, value: Any, place: float) -> None:
        """Counted exactly, until there are too many different ones."""
        text = "(none)" if value is None else str(value)
        is_long = len(text) > MAX_CATEGORY
        if self._sample.wants(place):
            self._sample.take(place, None if is_long else hash(text))
        if self._values is None:
            return
        self._values[text] += 1
        if is_long or len(self._values) > MAX_VALUES:
            self._values = None

    def keep(self, what: str) -> Counts | Spread:
        """How often each value came; of a column that is no category how many there are."""
        if self._values and self._values.total() >= _ROWS_PER_VALUE * len(self._values):
            return hide_rare(what, self._values)
        found = self._sample.values
        return Spread(len(found), len({*found} - {None}), found.count(None))
