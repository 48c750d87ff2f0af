"""What a random sample of a release says of the rows that nobody read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import comb


@lru_cache(maxsize=1024)
def bound_bad(n_rows: int, n_read: int, n_bad: int, confidence: float) -> int:
    """
    The most rows of a release that can be wrong, given what a random sample of it showed.

    It is the largest number that would show so few wrong rows with a chance of at least 1 - confidence.

    Args:
        n_rows: Of the release.
        n_read: Rows of the sample, drawn without replacement.
        n_bad: How many of them are wrong.
        confidence: Such as 0.95.
    """
    most = n_rows - (n_read - n_bad)
    candidates = range(n_bad + 1, most + 1)
    return n_bad + _find_first(candidates, lambda m: not _is_likely(n_rows, m, n_read, n_bad, confidence))


@lru_cache(maxsize=1024)
def count_to_read(n_rows: int, n_bad: int, confidence: float, max_bad_share: float) -> int | None:
    """
    The fewest rows to read so that the bound is no more than a share of all; None where reading all is not enough.

    Args:
        n_rows: Of the release.
        n_bad: How many of the rows read are wrong.
        confidence: Such as 0.95.
        max_bad_share: Such as 0.02. With 0 the bound must be 0, which for one wrong row takes 95 % of the rows.
    """
    # By its decimals: 0.07 * 100 is more than 7.
    n_allowed = Fraction(str(max_bad_share)) * n_rows // 1
    if n_bad > n_allowed:
        return None
    if n_allowed >= n_rows:
        return n_bad
    sizes = range(n_bad, n_rows)
    refuted = n_allowed + 1
    return n_bad + _find_first(sizes, lambda n: not _is_likely(n_rows, refuted, n, n_bad, confidence))


def count_catches(n_seeds: int) -> int:
    """How many seeds a reader must catch: all of one or two, all but one of more."""
    return n_seeds if n_seeds <= 2 else n_seeds - 1  # noqa: PLR2004 - the rule itself


def _find_first(candidates: range, key: Callable[[int], bool]) -> int:
    """The index of the first of which it is so, as of all after it; the smallest, which cost least, are asked first."""
    end = 1
    while end < len(candidates) and not key(candidates[end - 1]):
        end *= 2
    return bisect_left(candidates, True, lo=end // 2, hi=min(end, len(candidates)), key=key)


def _is_likely(n_rows: int, n_wrong: int, n_read: int, n_bad: int, confidence: float) -> bool:
    """Whether so many wrong rows show no more than n_bad in a sample often enough; less often the more they are."""
    # Which of two sets was drawn, and which was marked, is all the same: the smaller one makes smaller numbers.
    drawn, marked = sorted((n_read, n_wrong))
    fewest = max(0, drawn + marked - n_rows)
    n_ways, ways = 0, comb(marked, fewest) * comb(n_rows - marked, drawn - fewest)
    for k in range(fewest, min(n_bad, drawn) + 1):
        n_ways += ways
        ways = ways * (marked - k) * (drawn - k) // ((k + 1) * (n_rows - marked - drawn + k + 1))
    return n_ways >= (1 - Fraction(str(confidence))) * _comb(n_rows, drawn)


#: Of one sample the same for all candidates.
_comb = lru_cache(maxsize=16)(comb)
