"""What was measured of the run before and is not measured of this one, so that there is nothing to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from overnight.report.drift_words import tell_missing, tell_spread
from overnight.report.likelihood import judge_shares
from overnight.report.profile import LEAST, N_LANGUAGES, RARE, Counts, Lengths, Profile, Spread


@dataclass(frozen=True)
class Gone:
    """A thing that is gone, before anybody asks whether it is chance."""

    what: str
    #: Percentage points of the rows.
    value: float
    p: float
    n_before: int
    n_after: int
    words: str


def compare_gone(before: Profile, after: Profile) -> Iterator[Gone]:
    """Columns and labels that are no categories any more, or missing; and texts of which none is left."""
    for what in sorted({*before.counts} - {*after.counts}):
        found = _compare_spread if what in after.spreads else _compare_missing
        yield from found(what, before, after)
    for what in sorted({*before.lengths} - {*after.lengths}):
        if what.removesuffix(".length") not in before.counts:  # of a category the values are compared
            yield from _compare_missing(what, before, after)


def count_all(profile: Profile, what: str) -> int:
    """Of how many rows a thing could have been measured: those that were read, or that were answered."""
    sides = ("input.",) if what.startswith("input.") else ("output.", "answer.")
    kinds: tuple[Mapping[str, Counts | Lengths | Spread], ...] = (profile.counts, profile.lengths, profile.spreads)
    n = max((found.n for kind in kinds for name, found in kind.items() if name.startswith(sides)), default=0)
    return min(n, N_LANGUAGES) if what.endswith(".language") else n


def _compare_spread(what: str, before: Profile, after: Profile) -> Iterator[Gone]:
    """
    Whether more rows than by chance have values that no row had before.

    A column stands at the edge of what is a category on many a night. At least so many rows have new values as there
    are more different ones than there were; without a change about as many do as had a value of their own before.
    """
    old, new = before.counts[what], after.spreads[what]
    if min(old.n, new.n) < LEAST:
        return
    n_known, n_once = _count_known(old)
    n_new = max(0, new.n_values - n_known, new.n_long)
    value = 100 * (n_new / new.n - n_once / old.n)
    p = judge_shares((n_once, old.n), (n_new, new.n))
    yield Gone(what, max(0.0, value), p, old.n, new.n, tell_spread(what, n_known, old.n, new))


def _count_known(old: Counts) -> tuple[int, int]:
    """How many different values there were, and how many of them came once; at the most."""
    n_unnumbered = old.values.get(RARE, 0)
    n_once = sum(n == 1 for n in (*old.values.values(), *old.rare.values()))
    return len(old.values) + len(old.rare) + n_unnumbered, n_once + n_unnumbered


def _compare_missing(what: str, before: Profile, after: Profile) -> Iterator[Gone]:
    n = (before.counts.get(what) or before.lengths[what]).n
    n_before, n_after = max(n, count_all(before, what)), count_all(after, what)
    if min(n_before, n_after) < LEAST:
        return
    p = judge_shares((n, n_before), (0, n_after))
    yield Gone(what, -100 * n / n_before, p, n_before, n_after, tell_missing(what, n, n_before, n_after))
