"""Whether two samples differ: how much, and how likely chance alone would show as much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

#: Values of which fewer were to be expected on either side are counted together.
_LEAST_EXPECTED = 5.0
#: Added to every count, so that a value that is gone gives a large index and not an infinite one.
_SMOOTHING = 0.5
#: From so many on, the exact test and the approximate one say the same, and the exact one takes long.
_MAX_EXACT = 10_000
_LIKELY = 0.05


def pool_rare(before: Mapping[str, int], after: Mapping[str, int]) -> list[tuple[int, int]]:
    """The counts of both sides by value; values too rare to compare are counted together."""
    n, m = sum(before.values()), sum(after.values())
    if not n or not m:
        return []
    common, rare = [], (0, 0)
    for value in sorted({*before, *after}):
        pair = before.get(value, 0), after.get(value, 0)
        if sum(pair) * min(n, m) / (n + m) >= _LEAST_EXPECTED:
            common.append(pair)
        else:
            rare = rare[0] + pair[0], rare[1] + pair[1]
    return [*common, rare] if any(rare) else common


def measure_psi(pairs: Sequence[tuple[int, int]]) -> float:
    """
    The population stability index over what chance alone would give: 0 where nothing changed, on average.

    Without a change the index of two samples of n and m rows is about (k - 1) (1/n + 1/m) for k values: with 77 labels
    and 400 rows 0.38, which a fixed limit of 0.2 would take for a change every night.
    """
    n, m = (sum(side) for side in zip(*pairs, strict=True))
    k = len(pairs)
    shares = [((b + _SMOOTHING) / (n + k * _SMOOTHING), (a + _SMOOTHING) / (m + k * _SMOOTHING)) for b, a in pairs]
    index: float = sum((q - p) * math.log(q / p) for p, q in shares)
    by_chance: float = (k - 1) * (1 / n + 1 / m)
    return index - by_chance


def judge_counts(pairs: Sequence[tuple[int, int]]) -> float:
    """The chi-square test of homogeneity: how likely such counts are where both sides are of one kind."""
    from scipy.stats import chi2  # type: ignore[import-untyped]  # noqa: PLC0415 - it takes a second

    n, m = (sum(side) for side in zip(*pairs, strict=True))
    expected = [((b + a) * n / (n + m), (b + a) * m / (n + m)) for b, a in pairs]
    statistic = sum((b - e) ** 2 / e + (a - f) ** 2 / f for (b, a), (e, f) in zip(pairs, expected, strict=True))
    return float(chi2.sf(statistic, len(pairs) - 1))


def judge_shares(before: tuple[int, int], after: tuple[int, int]) -> float:
    """
    Two proportions, each (how many, of how many): how likely they differ so much by chance.

    Fisher's exact test; for large samples, where it takes long, chi-square with Yates' correction. What chi-square
    without it calls likely is not tested exactly: the exact test would call it more likely still.
    """
    (b, n), (a, m) = before, after
    quick = _test_large(b, n, a, m, correction=0)
    if quick > _LIKELY:
        return quick
    if n + m <= _MAX_EXACT:
        from scipy.stats import fisher_exact  # noqa: PLC0415 - the same

        return float(fisher_exact([[b, n - b], [a, m - a]]).pvalue)
    return _test_large(b, n, a, m, correction=(n + m) / 2)


def _test_large(b: int, n: int, a: int, m: int, *, correction: float) -> float:
    total, hits = n + m, b + a
    if hits in (0, total):
        return 1.0
    distance = max(0.0, abs(b * (m - a) - a * (n - b)) - correction)
    statistic = total * distance**2 / (n * m * hits * (total - hits))
    return math.erfc(math.sqrt(statistic / 2))


def judge_lengths(before: Sequence[int], after: Sequence[int]) -> tuple[float, float]:
    """Kolmogorov and Smirnov's test of two samples: their largest distance D, and how likely it is by chance."""
    from scipy.stats import ks_2samp  # noqa: PLC0415 - the same

    # Not the exact form: lengths have ties, with which both err to the safe side, and it is slow.
    found = ks_2samp(before, after, method="asymp")
    return float(found.statistic), float(found.pvalue)
