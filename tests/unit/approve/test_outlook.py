from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.approve.bounds import bound_bad
from overnight.approve.outlook import Outlook, find_outlook
from tests.conftest import House

#: 29 rows at random and 3 seeds, of 1,000.
_FIRST = Outlook(1000, 971, 0, 0, 32, 29, 3, 0.95, 0.10)


def test_before_anything_was_read_everything_may_be_wrong() -> None:
    assert _FIRST.bound(0, 0) == 1000


def test_the_bound_falls_with_each_item_and_rises_with_what_is_flagged_beyond_the_seeds() -> None:
    bounds = [_FIRST.bound(n, 0) for n in range(33)]
    assert bounds == sorted(bounds, reverse=True)
    assert _FIRST.bound(32, 0) == _FIRST.bound(32, 3) == bound_bad(1000, 29, 0, 0.95)
    assert _FIRST.bound(32, 5) == bound_bad(1000, 29, 2, 0.95)


def test_the_bound_holds_what_was_read_before() -> None:
    second = replace(_FIRST, n_read=29, n_bad=1)
    assert second.bound(0, 0) == bound_bad(1000, 29, 1, 0.95)
    assert second.bound(32, 4) == bound_bad(1000, 58, 2, 0.95)


def test_more_flagged_than_can_have_been_read_at_random_is_all_of_it() -> None:
    assert _FIRST.bound(4, 4) == bound_bad(1000, 3, 1, 0.95)
    assert _FIRST.bound(32, 32) == 1000


def test_what_is_missing_at_best_is_what_the_decision_would_ask_for() -> None:
    assert _FIRST.count_missing(3) == 0
    assert _FIRST.count_missing(4) > 0
    assert replace(_FIRST, n_unread=0).count_missing(30) == 0


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5])
def test_the_seeds_to_catch_are_those_of_the_decision(n_seeds: int) -> None:
    assert replace(_FIRST, n_seeds=n_seeds).n_to_catch == (n_seeds if n_seeds < 3 else n_seeds - 1)


def test_the_outlook_of_a_release_is_made_of_its_open_round(house: House) -> None:
    release = house.offer(100, n_seeds=2)
    with house.ledger.reading() as connection:
        outlook = find_outlook(connection, release)
    n_random = len(release.items) - 2
    assert outlook == Outlook(100, 100 - n_random, 0, 0, n_random + 2, n_random, 2, 0.95, 0.10)
    assert outlook.count_missing(2) == 0
