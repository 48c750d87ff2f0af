"""Seeds of rows with private values: wrong where it can be seen, and with no value of another row in them."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from overnight.approve.seeds.making import Mutator, Seed
from overnight.approve.seeds.mutations import differs
from overnight.approve.seeds.signs import Signs
from overnight.masking import Veil
from overnight.records import Answered

#: (rows, bases, schema, own mutators, a source of chance) -> seeds.
Make = Callable[
    [Sequence[Answered], Sequence[int], Mapping[str, Any], Sequence[Mutator], random.Random],
    list[Seed],
]


class _Shown(Sequence[Answered]):
    """Rows as they are shown, with signs for marks, each hidden when it is looked at: of a large release few are."""

    def __init__(self, rows: Sequence[Answered], private: Collection[str]) -> None:
        self.rows = rows
        self._private = private
        self._signs = Signs(private)
        self._veils: dict[int, Veil] = {}
        self._shown: dict[int, Answered] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        if at not in self._shown:
            row, veil = self.rows[at], self.get_veil(at)
            given, output = self._signs.put(veil.hide_input(row.input)), self._signs.put(veil.hide_output(row.output))
            self._shown[at] = replace(row, input=given, output=output)
        return self._shown[at]

    def get_veil(self, at: int) -> Veil:
        """What hides the private values of a row."""
        if at not in self._veils:
            self._veils[at] = Veil(self._private, self.rows[at].input, self.rows[at].output)
        return self._veils[at]

    def guard(self, mutator: Mutator) -> Mutator:
        """A mutator of the prompt's own, which reads marks as reviewers do."""

        @functools.wraps(mutator)
        def mutate(
            given: Mapping[str, Any], output: Mapping[str, Any], other: Mapping[str, Any], rng: random.Random
        ) -> Mapping[str, Any] | None:
            take = self._signs.take
            found = mutator(take(given), take(output), take(other), rng)
            return None if found is None else self._signs.put(found)

        return mutate

    def make_whole(self, seed: Seed) -> Seed:
        """The seed with what is private in its base."""
        row, output = self.rows[seed.base], self._signs.take(seed.output)
        kept = {name: row.output[name] for name in self._private if name in output}
        return replace(seed, output=self.get_veil(seed.base).put_back({**output, **kept}))


def make_veiled(make: Make, private: Collection[str]) -> Make:
    """
    A way to make seeds of rows as they are shown: one row's answer may stand in another's place.

    What was private in the base row stands in its seed as it was, so that a correction of a seed fits as any other; a
    seed that differs nowhere else is none. Rows that it was given before are not hidden anew.
    """
    known: list[_Shown] = []

    def make_shown(
        rows: Sequence[Answered], bases: Sequence[int], schema: Mapping[str, Any], own: Sequence[Mutator], rng: Any
    ) -> list[Seed]:
        if not known or known[0].rows is not rows:
            known[:] = [_Shown(rows, private)]
        shown = known[0]
        made = make(shown, bases, schema, [shown.guard(mutator) for mutator in own], rng)
        return [s for s in map(shown.make_whole, made) if is_seen(s, rows[s.base], private)]

    return make_shown


def is_seen(seed: Seed, row: Answered, private: Collection[str]) -> bool:
    """Whether a seed differs from its row in what readers are shown."""
    veil = Veil(private, row.input, row.output)
    return differs(veil.hide_output(seed.output), veil.hide_output(row.output))
