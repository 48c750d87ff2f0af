"""Whether more rows were quarantined than a limit allows, or than chance explains."""

from __future__ import annotations

#: A share is called too high where no more than one run in twenty would show it by chance.
_CONFIDENCE = 0.95


def find_excess(n_quarantined: int, n_rows: int, limit: float | None) -> float | None:
    """
    The share that is surely quarantined, where it exceeds the limit: the lower one-sided 95 % Clopper-Pearson bound.

    A few failing rows among few say little: 1 of 10 has a bound of 0.005. A limit of None is never exceeded.
    """
    if limit is None or not n_rows or n_quarantined / n_rows <= limit:
        return None
    # Most runs never come here. Its `scipy.stats.beta` would say the same, and takes half a second more to import.
    from scipy.special import betaincinv  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    bound = float(betaincinv(n_quarantined, n_rows - n_quarantined + 1, 1 - _CONFIDENCE))
    return bound if bound > limit else None
