"""Seeds of rows with private values: wrong where it can be seen, and with no value of another row in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from overnight.approve.seeds.making import Mutator, Seed
from overnight.approve.seeds.mutations import differs
from overnight.masking import Veil
from overnight.records import Answered

#: (rows, bases, schema, own mutators, a source of chance) -> seeds.
Make = Callable[
    [Sequence[Answered], Sequence[int], Mapping[str, Any], Sequence[Mutator], random.Random],
    list[Seed],
]


def make_veiled(make: Make, private: Collection[str]) -> Make:
    """
    A way to make seeds of rows as they are shown: one row's answer may stand in another's place.

    What was private in the base row stands in its seed as it was, so that a correction of a seed fits as any other; a
    seed that differs nowhere else is none.
    """

    def make_shown(
        rows: Sequence[Answered], bases: Sequence[int], schema: Mapping[str, Any], own: Sequence[Mutator], rng: Any
    ) -> list[Seed]:
        veils = [Veil(private, row.input, row.output) for row in rows]
        shown = [
            replace(row, input=veil.hide_input(row.input), output=veil.hide_output(row.output))
            for row, veil in zip(rows, veils, strict=True)
        ]
        made = make(shown, bases, schema, own, rng)
        whole = [_make_whole(seed, rows[seed.base], veils[seed.base], private) for seed in made]
        return [seed for seed in whole if differs(veils[seed.base].hide_output(seed.output), shown[seed.base].output)]

    return make_shown


def _make_whole(seed: Seed, row: Answered, veil: Veil, private: Collection[str]) -> Seed:
    kept = {name: row.output[name] for name in private if name in seed.output}
    return replace(seed, output=veil.put_back({**seed.output, **kept}))
