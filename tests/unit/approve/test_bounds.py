from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.approve.bounds import bound_bad, count_catches, count_to_read


def chance(n_rows, n_wrong, n_read, n_bad):
    """Of finding at most n_bad, exactly."""
    ways = sum(comb(n_wrong, k) * comb(n_rows - n_wrong, n_read - k) for k in range(min(n_bad, n_read) + 1))
    return Fraction(ways, comb(n_rows, n_read))


def bound(n_rows, n_read, n_bad, confidence):
    least = 1 - Fraction(str(confidence))
    return max(m for m in range(n_rows + 1) if chance(n_rows, m, n_read, n_bad) >= least)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 7, 20, 33])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_the_bound_is_that_of_the_exact_distribution(n_rows, confidence):
    for n_read in range(n_rows + 1):
        for n_bad in range(min(n_read, 6) + 1):
            case = (n_rows, n_read, n_bad, confidence)
            assert bound_bad(*case) == bound(*case), case


@pytest.mark.parametrize(
    ("n_rows", "share", "n_read"),
    [
        (10_000, 0.1, 29),
        (10_000, 0.05, 59),
        # 149 and 299 are the figures of endless rows.
        (10_000, 0.02, 147),
        (10_000, 0.01, 291),
        (10**9, 0.02, 149),
        (10**9, 0.01, 299),
        (200, 0.05, 47),
        (0, 0.05, 0),
        (10, 1.0, 0),
        (100, 0.0, 96),
    ],
)
def test_so_many_clean_rows_meet_a_share(n_rows, share, n_read):
    assert count_to_read(n_rows, 0, 0.95, share) == n_read


@pytest.mark.parametrize("n_rows", [1, 19, 20, 60])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.07, 0.29, 1.0])
def test_what_is_to_be_read_is_the_least_that_meets_the_share(n_rows, share):
    for n_bad in range(min(n_rows, 5) + 1):
        limit = Fraction(str(share)) * n_rows
        enough = [n for n in range(n_bad, n_rows + 1) if bound(n_rows, n, n_bad, 0.95) <= limit]
        assert count_to_read(n_rows, n_bad, 0.95, share) == (enough[0] if enough else None)


def test_a_share_is_compared_by_its_decimals():
    assert 0.07 * 100 > 7
    assert 0.29 * 100 < 29
    assert (count_to_read(100, 7, 0.95, 0.07), count_to_read(100, 8, 0.95, 0.07)) == (100, None)
    assert count_to_read(100, 29, 0.95, 0.29) == 100


def test_the_ends_need_no_distribution():
    assert bound_bad(50, 0, 0, 0.95) == 50
    assert bound_bad(50, 50, 3, 0.95) == 3
    assert bound_bad(50, 5, 5, 0.95) == 50
    assert bound_bad(0, 0, 0, 0.95) == 0


def test_a_million_rows_are_bounded_and_the_bound_is_tight():
    n = count_to_read(10**6, 30, 0.95, 0.01)
    assert bound_bad(10**6, n, 30, 0.95) <= 10_000 < bound_bad(10**6, n - 1, 30, 0.95)


@st.composite
def samples(draw):
    n_rows = draw(st.integers(1, 5000))
    n_read = draw(st.integers(0, n_rows))
    return n_rows, n_read, draw(st.integers(0, min(n_read, 40)))


@given(samples())
def test_reading_more_lowers_the_bound_and_finding_more_raises_it(sample):
    n_rows, n_read, n_bad = sample
    here = bound_bad(n_rows, n_read, n_bad, 0.95)
    assert n_bad <= here <= n_rows
    assert bound_bad(n_rows, n_read, n_bad, 0.9) <= here
    if n_read < n_rows:
        assert bound_bad(n_rows, n_read + 1, n_bad, 0.95) <= here
    if n_bad < n_read:
        assert here <= bound_bad(n_rows, n_read, n_bad + 1, 0.95)


def test_all_seeds_of_one_or_two_must_be_caught_and_all_but_one_of_more():
    assert [count_catches(n) for n in range(6)] == [0, 1, 2, 2, 3, 4]
