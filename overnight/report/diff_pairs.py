"""The rows that two sides have in common: the places of each pair, and which fields are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from overnight.report.diff_columns import ACCEPTED, Columns, Hashes

Places = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Rows of the same input on both sides, in one order whatever order they were read in."""

    a: Columns
    b: Columns
    at_a: Places
    at_b: Places
    n_only_a: int
    n_only_b: int
    n_other_input: int

    def __len__(self) -> int:
        return len(self.at_a)

    @cached_property
    def states_a(self) -> npt.NDArray[np.int8]:
        return self.a.states[self.at_a]

    @cached_property
    def states_b(self) -> npt.NDArray[np.int8]:
        return self.b.states[self.at_b]

    @cached_property
    def both_accepted(self) -> Flags:
        """The pairs whose answers can be compared."""
        both: Flags = (self.states_a == ACCEPTED) & (self.states_b == ACCEPTED)
        return both

    @cached_property
    def same(self) -> Mapping[str, Flags]:
        """Of each field that both have, the pairs in which its value is the same."""
        names = [name for name in self.a.fields if name in self.b.fields]
        return {name: self.field_a(name) == self.field_b(name) for name in names}

    @cached_property
    def is_same(self) -> Flags:
        """The pairs whose answers are the same in every field that both have."""
        whole: Flags = np.ones(len(self), bool)
        for flags in self.same.values():
            whole &= flags
        return whole

    def field_a(self, name: str) -> Hashes:
        return self.a.fields[name][self.at_a]

    def field_b(self, name: str) -> Hashes:
        return self.b.fields[name][self.at_b]


def pair_rows(a: Columns, b: Columns) -> Pairs:
    """Pair the rows that both sides have asked; several rows of one name count once, the first of them."""
    places_a, places_b = _find_first(a), _find_first(b)
    common, in_a, in_b = np.intersect1d(
        a.pairing[places_a], b.pairing[places_b], assume_unique=True, return_indices=True
    )
    at_a, at_b = places_a[in_a], places_b[in_b]
    is_same = a.inputs[at_a] == b.inputs[at_b]
    return Pairs(
        a,
        b,
        at_a[is_same],
        at_b[is_same],
        n_only_a=len(places_a) - len(common),
        n_only_b=len(places_b) - len(common),
        n_other_input=int((~is_same).sum()),
    )


def _find_first(columns: Columns) -> Places:
    asked = np.flatnonzero(columns.keys)
    _, first = np.unique(columns.pairing[asked], return_index=True)
    return asked[first]
