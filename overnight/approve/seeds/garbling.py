"""The last resort: an answer made wrong out of itself, where no other row lends anything."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from overnight.approve.seeds.labels import find_enum, get_facts
from overnight.approve.seeds.likeness import Sample
from overnight.approve.seeds.mutations import Base, differs

_MIN_WORDS = 4
_TRIES = 8
#: So far off that nobody takes it for a slip.
_FACTOR = 1000
#: Above it numbers are made smaller: JSON's readers take no more than 64 bits.
_MOST = 1e12

#: (name, value, sample, a source of chance) -> the value made wrong, or as it is.
_Change = Callable[[str, Any, Sample, random.Random], Any]


def garble(base: Base, sample: Sample, rng: random.Random) -> dict[str, Any] | None:
    """The first that applies: all texts out of order, a number far off, another label, yes for no, letters mixed."""
    for change in (_shuffle_words, _throw_off, _turn_over, _mix_letters):
        output = {name: _change(name, value, change, sample, rng) for name, value in base.output.items()}
        if differs(output, dict(base.output)):
            return output
    return None


def _change(name: str, value: Any, change: _Change, sample: Sample, rng: random.Random) -> Any:
    """The value, and all within it, as one of the changes below makes it; unchanged where that does not apply."""
    if isinstance(value, Mapping):
        return {key: _change(key, part, change, sample, rng) for key, part in value.items()}
    if isinstance(value, list):
        return [_change(name, part, change, sample, rng) for part in value]
    return change(name, value, sample, rng)


def _shuffle_words(name: str, value: Any, sample: Sample, rng: random.Random) -> Any:
    if not isinstance(value, str) or name in sample.label_fields or len(value.split()) < _MIN_WORDS:
        return value
    return " ".join(_shuffle(value.split(), rng))


def _throw_off(name: str, value: Any, sample: Sample, rng: random.Random) -> Any:
    """Not a share of one: nobody can say of 0.3 that it is not 0.9."""
    if isinstance(value, bool) or not isinstance(value, int | float) or 0 < abs(value) < 1:
        return value
    facts = get_facts(sample.schema, name)
    if facts.get("minimum") == 0 and facts.get("maximum") == 1:
        return value
    if abs(value) > _MOST:
        return type(value)(value // _FACTOR)
    far = (abs(value) + rng.randint(2, 9)) * _FACTOR
    low, high = facts.get("minimum", min(0, value)), facts.get("maximum", far)
    return type(value)(far if low <= far <= high else max((low, high), key=lambda end: abs(end - value)))


def _turn_over(name: str, value: Any, sample: Sample, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    others = [other for other in find_enum(sample.schema, name) or () if differs(other, value)]
    return rng.choice(others) if others and name in sample.label_fields else value


def _mix_letters(_name: str, value: Any, _sample: Sample, rng: random.Random) -> Any:
    """Of a name or an amount, with nothing to take another from; at the very last a share turned round."""
    if isinstance(value, str) and value.strip():
        return "".join(_shuffle(list(value), rng)) if len(set(value.casefold())) > 1 else " ".join([value] * 3)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return type(value)(0 if value > 0.5 else 1)  # noqa: PLR2004 - the middle of a share
    return value


def _shuffle(parts: list[str], rng: random.Random) -> list[str]:
    """Of some orders, the one that leaves the fewest neighbours together."""
    pairs = set(pairwise(parts))
    orders = [parts[::-1], *(rng.sample(parts, len(parts)) for _ in range(_TRIES))]
    return min(orders, key=lambda order: (order == parts, len(pairs & set(pairwise(order)))))
