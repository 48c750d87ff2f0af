"""Values that are counted without their names, and two nights' counts of them side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from overnight.keys import digest_parts
from overnight.report.profile import MIN_SHARED, RARE, Counts

#: Digits of the number of a value. With three, thousands of the world's names share each: a number gives nobody away,
#: and of a column's few values hardly ever two have the same.
_N_DIGITS = 3


def find_number(what: str, value: str) -> str:
    """One of 4,096 that stands for the value, every night the same."""
    return digest_parts("value", [what, value])[:_N_DIGITS]


def hide_rare(what: str, found: Mapping[str, int]) -> Counts:
    """A value that few rows share is counted by its number: it may be a person's."""
    shared = {value: n for value, n in sorted(found.items()) if n >= MIN_SHARED}
    rare: Counter[str] = Counter()
    for value, n in found.items():
        if value not in shared:
            rare[find_number(what, value)] += n
    return Counts(sum(found.values()), shared, dict(sorted(rare.items())))


def match(what: str, old: Counts, new: Counts) -> tuple[Counts, Counts]:
    """
    Both sides with every value under the same name, or the same number, on either.

    What one night has a name for and the other does not is no longer 0 there: it is looked up by its number.
    """
    shared = {*old.values} & {*new.values} - {RARE}
    if RARE in old.values or RARE in new.values:
        return _pool(old, shared), _pool(new, shared)
    named = Counter(old.values) + Counter(new.values)
    # Where two share a number the more common one gives it its name.
    names = {find_number(what, value): value for value, _ in reversed(named.most_common()) if value not in shared}
    return _name(what, old, shared, names), _name(what, new, shared, names)


def list_all(side: Counts) -> dict[str, int]:
    """Every count of a side: a number is told from a value that is written as it is."""
    return side.values | {f"{RARE} {number}": n for number, n in side.rare.items()}


def _pool(side: Counts, shared: set[str]) -> Counts:
    """Where a profile was kept without numbers: what has no name on either side is one value on both."""
    values = {value: n for value, n in side.values.items() if value in shared}
    return Counts(side.n, values | {RARE: side.n - sum(values.values())})


def _name(what: str, side: Counts, shared: set[str], names: Mapping[str, str]) -> Counts:
    values = Counter({value: n for value, n in side.values.items() if value in shared})
    rare: Counter[str] = Counter()
    numbered = [(find_number(what, value), n) for value, n in side.values.items() if value not in shared]
    for number, n in [*numbered, *side.rare.items()]:
        if number in names:
            values[names[number]] += n
        else:
            rare[number] += n
    return Counts(side.n, dict(values), dict(rare))
