import math

import pytest

from overnight.checks import find_excess


@pytest.mark.parametrize(
    ("n_quarantined", "n_rows", "bound"),
    [
        # Published one-sided values: all of n gives 0.05 ** (1 / n), one of n gives 1 - 0.95 ** (1 / n).
        (10, 10, 0.05 ** (1 / 10)),
        (1, 10, 1 - 0.95 ** (1 / 10)),
        (5, 10, 0.2224411),
    ],
)
def test_the_bound_is_that_of_clopper_and_pearson(n_quarantined, n_rows, bound):
    assert find_excess(n_quarantined, n_rows, 0.001) == pytest.approx(bound, abs=1e-6)


@pytest.mark.parametrize(("n_quarantined", "n_rows"), [(1, 3), (7, 40), (50, 1000), (999, 1000)])
def test_at_the_bound_so_many_or_more_come_by_chance_once_in_twenty(n_quarantined, n_rows):
    p = find_excess(n_quarantined, n_rows, 0.001)
    fewer = math.fsum(math.comb(n_rows, k) * p**k * (1 - p) ** (n_rows - k) for k in range(n_quarantined))
    assert 1 - fewer == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("n_quarantined", "n_rows", "limit"),
    [
        (0, 0, 0.0),
        (0, 100, 0.0),
        (2, 100, 0.02),
        # More than the limit, but not surely so.
        (1, 10, 0.02),
        (3, 100, 0.02),
        (100, 100, None),
        (100, 100, 1.0),
    ],
)
def test_what_chance_explains_is_no_excess(n_quarantined, n_rows, limit):
    assert find_excess(n_quarantined, n_rows, limit) is None


@pytest.mark.parametrize(("n_quarantined", "n_rows", "limit"), [(1, 10, 0.0), (6, 100, 0.02), (2, 3, 0.02)])
def test_a_share_that_is_surely_over_the_limit_is_an_excess(n_quarantined, n_rows, limit):
    assert limit < find_excess(n_quarantined, n_rows, limit) < n_quarantined / n_rows
