"""What a review has come to, in words."""

from __future__ import annotations

import math

from overnight.approve.judge import Judged
from overnight.approve.reading import Reading


def describe_reading(reading: Reading, *, reviewers: list[str], n_caught: int, n_seeds: int) -> str:
    """What is known of the rows now, and by whose eye."""
    eye = "this reviewer's eye, who has" if len(reviewers) == 1 else f"the eyes of {' and '.join(reviewers)}, who have"
    so_far = f"by {eye} caught {n_caught:,} of {n_seeds:,} seeds so far."
    n_read, found = len(reading.readers), f"{len(reading.bad):,} wrong"
    if not reading.n_unread:
        return f"All {n_read:,} rows were read, {found}, {so_far}"
    n_random = len(reading.random)
    at_risk = f" (and {n_read - n_random:,} picked for their risk)" if n_read > n_random else ""
    share, looks = show_share(reading.bound() / reading.n_rows), reading.n_looks + 1
    # Rounded down: nobody is told to be surer than they can be.
    sure = f"{math.floor(round(reading.confidence * 1000, 6)) / 10:g} % confidence" + (
        f" over {looks} looks" if looks > 1 else ""
    )
    return (
        f"{n_random:,} read{at_risk}, {found}: with {sure} at most {share} of {reading.n_rows:,} rows are wrong,"
        f" {so_far}"
    )


def describe_missing(reading: Reading) -> str:
    """What would let the rows leave that nobody has read."""
    n, n_unread = reading.count_missing(), reading.n_unread
    wanted = show_share(reading.policy.max_bad_share or 0.0)
    return (
        f"The flow wants at most {wanted}: read {n:,} rows more, or hold the {n_unread:,} that nobody has read"
        ' (decision "hold") and let those leave that were read as correct.'
    )


def describe_missed(judged: Judged) -> str:
    """The seeds that were taken for correct."""
    if not judged.missed:
        return ""
    each = "; ".join(f"item {m.item} (row {m.row_id}): {m.how}" for m in judged.missed)
    return f"Called correct, and made to be wrong: {each}."


def show_share(share: float) -> str:
    """A share in per cent, rounded up to a tenth: a bound is not made smaller by printing it."""
    return f"{math.ceil(round(share * 1000, 6)) / 10:g} %"
