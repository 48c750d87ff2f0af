"""Reviewers: one person a name, a time step taken once, and a record of what they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.release_schema import releases
from overnight.ledger.review_schema import drawn_items, draws, review_answers, verdicts
from overnight.ledger.reviewers import (
    Reviewer,
    ReviewerRecord,
    burn_step,
    find_record,
    find_reviewer,
    has_ever,
    has_reviewers,
    list_reviewers,
    record_reviewer,
    record_wrong,
    remove_reviewer,
)
from tests.conftest import House

KEY = digest_bytes(b"")


def _enrol(ledger: Ledger, name: str = "Ada", nonce: str = "n1", now: float = 5.0) -> Reviewer:
    return ledger.write(lambda c: record_reviewer(c, name, nonce, "root", now))


def _find(ledger: Ledger, name: str = "Ada") -> Reviewer:
    with ledger.reading() as connection:
        found = find_reviewer(connection, name)
    assert found
    return found


def _burn(ledger: Ledger, step: int) -> bool:
    return ledger.write(lambda c: burn_step(c, "Ada", step))


def test_nobody_is_enrolled_at_first(ledger: Ledger) -> None:
    with ledger.reading() as connection:
        assert find_reviewer(connection, "Ada") is None
        assert (has_reviewers(connection), has_ever(connection)) == (False, False)
        assert list_reviewers(connection) == []


def test_who_is_enrolled_is_found_and_listed_by_name(ledger: Ledger) -> None:
    _enrol(ledger, "bert")
    ada = _enrol(ledger)
    assert ada == Reviewer("Ada", "n1", "root", 5.0, 0, 0, None)
    with ledger.reading() as connection:
        assert [r.name for r in list_reviewers(connection)] == ["Ada", "bert"]
        assert (has_reviewers(connection), has_ever(connection)) == (True, True)


@pytest.mark.parametrize(
    ("one", "other"), [("Ada", "aDA"), ("Łucja Ó", "łUCJA  ó"), ("Zoë", "ZOE\N{COMBINING DIAERESIS}")]
)
def test_two_spellings_of_a_name_are_one_person(ledger: Ledger, one: str, other: str) -> None:
    _enrol(ledger, one)
    assert _find(ledger, other).name == one
    assert _enrol(ledger, other, "n2").name == one
    with ledger.reading() as connection:
        assert [(r.name, r.nonce) for r in list_reviewers(connection)] == [(one, "n2")]


def test_who_is_removed_is_not_found_but_was_there(ledger: Ledger) -> None:
    _enrol(ledger)
    assert ledger.write(lambda c: remove_reviewer(c, "ADA", 6.0))
    assert not ledger.write(lambda c: remove_reviewer(c, "Ada", 7.0))
    with ledger.reading() as connection:
        assert find_reviewer(connection, "Ada") is None
        assert (has_reviewers(connection), has_ever(connection)) == (False, True)


def test_enrolling_anew_gives_another_nonce_and_keeps_the_used_codes(ledger: Ledger) -> None:
    _enrol(ledger)
    _burn(ledger, 7)
    ledger.write(lambda c: record_wrong(c, "Ada", 8.0))
    ledger.write(lambda c: remove_reviewer(c, "Ada", 9.0))
    _enrol(ledger, "ada", "n2", 10.0)
    assert _find(ledger) == Reviewer("Ada", "n2", "root", 10.0, 7, 0, None)


def test_a_time_step_is_burned_once_with_those_before_it(ledger: Ledger) -> None:
    _enrol(ledger)
    assert [_burn(ledger, step) for step in (7, 7, 6, 8)] == [True, False, False, True]


def test_wrong_codes_are_counted_until_one_is_right(ledger: Ledger) -> None:
    _enrol(ledger)
    for now in (8.0, 9.0):
        ledger.write(lambda c, now=now: record_wrong(c, "ada", now))  # type: ignore[misc]
    assert (_find(ledger).n_wrong, _find(ledger).wrong_at) == (2, 9.0)
    _burn(ledger, 1)
    assert _find(ledger).n_wrong == 0


def test_a_wrong_code_of_nobody_is_counted_for_nobody(ledger: Ledger) -> None:
    _enrol(ledger)
    ledger.write(lambda c: record_wrong(c, "Bert", 8.0))
    assert _find(ledger).n_wrong == 0


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE reviewers SET last_step = 6", "taken once at most"),
        ("DELETE FROM reviewers", "nothing is deleted from reviewers"),
    ],
)
def test_the_database_gives_no_code_back(ledger: Ledger, statement: str, says: str) -> None:
    _enrol(ledger)
    _burn(ledger, 7)
    with pytest.raises(LedgerRefused, match=says):
        ledger.write(lambda c: c.execute(sa.text(statement)))


class Desk:
    """Records answers to the reviews of releases as the gate does."""

    def __init__(self, house: House) -> None:
        house.begin()
        self._ledger = house.ledger
        self._rounds: dict[str, int] = {}

    def offer(self, release_id: str, seeds: Sequence[int] = ()) -> None:
        """A release whose only draw has seeds at these items."""
        self._rounds[release_id] = 0
        self._add(
            releases, release_id=release_id, run_id="night-1", digest=KEY, sink="s", prompt_hash=KEY, model="m",
            checks_hash=KEY, n_rows=9, offered_at=1.0,
        )  # fmt: skip
        self._add(draws, release_id=release_id, round=0, items="[]", evidence_digest=KEY, drawn_at=1.0)
        for item in seeds:
            self._add(drawn_items, release_id=release_id, round=0, item=item, stratum="seed", position=item)

    def answer(self, release_id: str, reviewer: str, given: str, *, outcome: str = "second", **more: Any) -> None:
        """Verdicts on items 1, 2, … by their first letters: (g)ood as corrected, (c)orrect, (w)rong, (u)nsure."""
        kinds = {"c": "correct", "g": "corrected", "w": "wrong", "u": "unsure"}
        items = {str(n): kinds[letter] for n, letter in enumerate(given, 1)}
        at = {"release_id": release_id, "round": self._rounds[release_id]}
        self._rounds[release_id] += 1
        self._add(
            review_answers, **at, channel="file", reviewer=reviewer, decision="release", reason="",
            verdicts=orjson.dumps(items).decode(), outcome=outcome, draw=0, recorded_at=1.0, **more,
        )  # fmt: skip
        for item, verdict in items.items():
            key = digest_bytes(item.encode())
            self._add(verdicts, **at, item=int(item), delivery_key=key, verdict=verdict, recorded_at=1.0)

    def find(self, name: str) -> ReviewerRecord:
        with self._ledger.reading() as connection:
            return find_record(connection, name)

    def _add(self, table: sa.Table, **values: Any) -> None:
        self._ledger.write(lambda c: c.execute(sa.insert(table).values(values)))


@pytest.fixture
def desk(house: House) -> Desk:
    return Desk(house)


def test_who_has_read_nothing_has_an_empty_record(desk: Desk) -> None:
    assert desk.find("Ada") == ReviewerRecord(0, 0, 0, 0, None, 0, 0)


def test_a_record_adds_up_all_releases_under_all_spellings(desk: Desk) -> None:
    desk.offer("r1")
    desk.offer("r2")
    desk.answer("r1", "Ada", "ccwu", n_seeds=2, n_caught=1, seconds=20.0, outcome="missed")
    desk.answer("r1", "ada", "cccc", n_seeds=2, n_caught=2, seconds=40.0)
    desk.answer("r2", "ADA", "cc", outcome="approved")
    desk.answer("r2", "Bert", "cc", n_seeds=9, n_caught=9, seconds=99.0)
    found = desk.find("Ada")
    assert (found.n_decisions, found.n_rows, found.n_seeds, found.n_caught) == (3, 10, 4, 3)
    # Eight rows took a minute; nobody measured the other two.
    assert found.seconds_a_row == 7.5


def test_what_was_refused_is_nobodys_reading(desk: Desk) -> None:
    desk.offer("r1")
    desk.answer("r1", "Bert", "ccc")
    desk.answer("r1", "Ada", "www", outcome="refused", seconds=1.0)
    assert desk.find("Ada") == ReviewerRecord(0, 0, 0, 0, None, 0, 0)
    assert desk.find("Bert").n_compared == 0


@pytest.mark.parametrize(("given", "agreed"), [("cg", 2), ("gc", 2), ("cw", 1), ("uw", 0)])
def test_two_agree_where_both_call_a_row_good_or_neither_does(desk: Desk, given: str, agreed: int) -> None:
    desk.offer("r1")
    desk.answer("r1", "Ada", "cc")
    desk.answer("r1", "Bert", given, outcome="approved")
    for name in ("Ada", "Bert"):
        assert (desk.find(name).n_agreed, desk.find(name).n_compared) == (agreed, 2)


def test_two_who_hold_a_row_back_agree_whatever_they_call_it(desk: Desk) -> None:
    desk.offer("r1")
    desk.answer("r1", "Ada", "wu")
    desk.answer("r1", "Bert", "uw")
    assert (desk.find("Ada").n_agreed, desk.find("Ada").n_compared) == (2, 2)


def test_the_last_word_on_a_row_counts(desk: Desk) -> None:
    desk.offer("r1")
    desk.answer("r1", "Ada", "w")
    desk.answer("r1", "Bert", "c")
    desk.answer("r1", "ada", "c")
    assert (desk.find("Ada").n_agreed, desk.find("Ada").n_compared) == (1, 1)


@pytest.mark.parametrize("name", ["Ada", "Bert"])
def test_seeds_other_releases_and_rounds_that_missed_are_not_compared(desk: Desk, name: str) -> None:
    desk.offer("r1", seeds=[1])
    desk.offer("r2")
    desk.answer("r1", "Ada", "wc")
    desk.answer("r1", "Bert", "ww", outcome="missed")
    desk.answer("r1", "Bert", "cc")
    desk.answer("r2", "Bert", "cccc")
    assert (desk.find(name).n_agreed, desk.find(name).n_compared) == (1, 1)
