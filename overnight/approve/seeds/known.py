"""
Seeds that no one made up: what a model once answered to the very same input, and a person called wrong.

Such an answer is a seed only where the row says something else by now: then the old one is known to be wrong, and is
not what is offered. People call subtle things wrong too, so that a round has one of them at most, and none where it has
one seed alone: who reads is never judged by it only.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from overnight.approve.seeds.making import Seed, order_fields
from overnight.approve.seeds.mutations import differs
from overnight.keys import canonical_json
from overnight.ledger.readings import WrongAnswer
from overnight.records import Answered

#: Of one round, and the seeds from which on a round has any.
_MOST, _LEAST_SEEDS = 1, 2


def find_known(rows: Sequence[Answered], wrong: Sequence[WrongAnswer], places: Collection[int]) -> list[Seed]:
    """
    The rows of a release with the answer that somebody called wrong, one a row.

    Args:
        rows: Of the release.
        wrong: Answers to any version of its prompt.
        places: Indices of the rows that may be used.
    """
    if not wrong:
        return []
    by_input = {answer.input: answer for answer in wrong}
    seeds = []
    for place in sorted(places):
        row = rows[place]
        answer = by_input.get(canonical_json(dict(row.input)).decode())
        if answer is None:
            continue
        output: dict[str, Any] = orjson.loads(answer.output)
        # A field more or less would show by itself that this is a seed.
        if output.keys() != row.output.keys():
            continue
        output = {name: output[name] for name in row.output}
        if differs(output, dict(row.output)):
            seeds.append(Seed(place, output, f"what was answered before, and {answer.by} called wrong"))
    return seeds


def take_known(known: Sequence[Seed], wanted: int, schema: Mapping[str, Any], rng: random.Random) -> list[Seed]:
    """Those of them that a round shows."""
    if wanted < _LEAST_SEEDS or not known:
        return []
    chosen = rng.sample(known, min(_MOST, len(known)))
    return [Seed(seed.base, order_fields(seed.output, schema), seed.how) for seed in chosen]
