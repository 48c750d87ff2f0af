"""How far provider batches are, in words."""

from __future__ import annotations

from overnight.ledger.provider_batch_progress import BatchProgress

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


def describe_progress(progress: BatchProgress, now: float) -> str:
    """
    The share that is done, how many batches are open, and how old the oldest is; a doubt stands at the beginning.

    Args:
        progress: Of the provider batches that are not over.
        now: Seconds since the epoch.
    """
    share = 100 * progress.n_done // progress.n_items if progress.n_items else 0
    words = f"{share} % of {count_requests(progress.n_items)}, {count_batches(progress.n_batches)}"
    if progress.since is not None:
        words += f", {describe_age(now - progress.since)}"
    if progress.n_in_doubt:
        return f"{count_batches(progress.n_in_doubt).upper()} IN DOUBT (`overnight batches`); {words}"
    return words


def count_batches(n: int) -> str:
    """So many provider batches."""
    return "1 provider batch" if n == 1 else f"{n:,} provider batches"


def count_requests(n: int) -> str:
    """So many requests of provider batches: rows that were sent, not all that a run has."""
    return "1 request" if n == 1 else f"{n:,} requests"


def describe_age(seconds: float) -> str:
    """A length of time in its two largest units, rounded down: "3 h 10 min"."""
    whole = max(0, int(seconds))
    if whole >= _DAY_S:
        return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
    if whole >= _HOUR_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _MINUTE_S} min"
