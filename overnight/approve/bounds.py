"""What a random sample of a release says of the rows that nobody read."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import lru_cache

#: Relative; more than the error of scipy's distribution, far less than one row makes.
_FLOAT_ERROR = 1e-9


@lru_cache(maxsize=1024)
def bound_bad(n_rows: int, n_read: int, n_bad: int, confidence: float) -> int:
    """
    The most rows of a release that can be wrong, given what a random sample of it showed.

    It is the largest number that would show so few wrong rows with a chance of more than 1 - confidence. A chance
    of just that much counts as more, so that no rounding makes the bound too small.

    Args:
        n_rows: Of the release.
        n_read: Rows of the sample, drawn without replacement.
        n_bad: How many of them are wrong.
        confidence: Such as 0.95.
    """
    most = n_rows - (n_read - n_bad)
    candidates = range(n_bad + 1, most + 1)
    return n_bad + bisect_left(candidates, True, key=lambda m: not _is_likely(n_rows, m, n_read, n_bad, confidence))


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
    return n_bad + bisect_left(sizes, True, key=lambda n: not _is_likely(n_rows, refuted, n, n_bad, confidence))


def count_catches(n_seeds: int) -> int:
    """How many seeds a reader must catch: all of one or two, all but one of more."""
    return n_seeds if n_seeds <= 2 else n_seeds - 1  # noqa: PLR2004 - the rule itself


def _is_likely(n_rows: int, n_wrong: int, n_read: int, n_bad: int, confidence: float) -> bool:
    """Whether so many wrong rows show no more than n_bad in a sample often enough; less often the more they are."""
    # Takes 0.8 s, and most commands never come here.
    from scipy.stats import hypergeom  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    chance = float(hypergeom.cdf(n_bad, n_rows, n_wrong, n_read))
    return chance >= float(1 - Fraction(str(confidence))) * (1 - _FLOAT_ERROR)
