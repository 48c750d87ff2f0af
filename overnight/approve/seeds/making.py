"""Seeds: answers made plainly wrong, shown among the real ones to see whether these are read."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from overnight.approve.seeds.garbling import garble
from overnight.approve.seeds.likeness import Sample
from overnight.approve.seeds.mislabel import misplace_label
from overnight.approve.seeds.mutations import Base, Mutation, borrow_text, cut_short, differs, list_donors, swap_answer
from overnight.records import Answered

#: (input, output, another row's output, a source of chance) -> the output made wrong, or None: it does not apply.
Mutator = Callable[
    [Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], random.Random],
    Mapping[str, Any] | None,
]
#: Rows whose outputs a prompt's own mutator is given, one after the other, until it makes something of one.
_N_OTHERS = 5

_SWAP: tuple[str, Mutation] = ("the answer of another row", swap_answer)
_KINDS: tuple[tuple[str, Mutation], ...] = (
    ("the longest text of another row", borrow_text),
    ("the label of another row", misplace_label),
    ("the longest text cut short", cut_short),
)
_LAST: tuple[str, Mutation] = ("its own values out of order", garble)


@dataclass(frozen=True)
class Seed:
    """A real row's answer made plainly wrong."""

    #: Which row, as an index.
    base: int
    output: Mapping[str, Any]
    #: In words, for the record; never for the reader before the verdict.
    how: str


def make_seeds(
    rows: Sequence[Answered],
    bases: Sequence[int],
    schema: Mapping[str, Any],
    own: Sequence[Mutator],
    rng: random.Random,
) -> list[Seed]:
    """
    One seed for each base, made in different ways; none for a base whose output has no value at all.

    Args:
        rows: Of the release; a sample is read, not all.
        bases: Indices into the rows.
        schema: Of the outputs; fields keep its order.
        own: The prompt's own ways, which come first.
        rng: Decides all; the same one makes the same seeds.
    """
    if not bases:
        return []
    sample = Sample(rows, schema, rng)
    # The swap is the first that stands in where another does not apply: it is plain for every kind of answer.
    generic = [_SWAP, *rng.sample(_KINDS, len(_KINDS))]
    ways = [(f"own: {name_mutator(mutator)}", partial(_try_own, mutator)) for mutator in own] + generic
    seeds = []
    for turn, base in enumerate(bases):
        row = Base(rows[base].input, rows[base].output, sample.sketch(rows[base]))
        first = ways[turn % len(ways)]
        if found := _find_wrong(row, [first, *ways, _LAST], sample, rng):
            how, output = found
            seeds.append(Seed(base, order_fields(output, schema), how))
    return seeds


def name_mutator(mutator: Mutator) -> str:
    """As its module calls it."""
    return getattr(mutator, "__name__", type(mutator).__name__)


def _find_wrong(
    base: Base, ways: Sequence[tuple[str, Mutation]], sample: Sample, rng: random.Random
) -> tuple[str, Mapping[str, Any]] | None:
    for how, mutate in ways:
        output = mutate(base, sample, rng)
        if output is not None and _is_other(output, base):
            return how, output
    return None


def _is_other(output: Mapping[str, Any], base: Base) -> bool:
    """With the same fields, and different: a field more or less would show by itself that this is a seed."""
    return output.keys() == base.output.keys() and differs(dict(output), dict(base.output))


def _try_own(mutator: Mutator, base: Base, sample: Sample, rng: random.Random) -> dict[str, Any] | None:
    for donor in list_donors(base, sample, rng)[:_N_OTHERS]:
        output = mutator(base.input, base.output, donor.output, rng)
        if output is not None and _is_other(output, base):
            return dict(output)
    return None


def order_fields(output: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """An output with its fields in the order of its schema."""
    listed = [name for name in schema.get("properties", {}) if name in output]
    return {name: output[name] for name in [*listed, *(name for name in output if name not in listed)]}
