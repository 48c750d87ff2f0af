"""Rows to read: which are shown for what, until when, and what follows from what is said of them."""

from __future__ import annotations

import pytest

from overnight.failures import ReviewRefused
from overnight.ledger.readings import find_readings
from overnight.ledger.reviews import find_doubted
from overnight.report.reading import Said, record_said
from overnight.report.to_read import RowToRead, find_readable_run, pick_rows_to_read
from tests.conftest import RUN, House


def _pick(house: House, n_rows: int = 10) -> dict[str, RowToRead]:
    found = pick_rows_to_read(RUN, n_rows=n_rows, ledger=house.ledger, place=house.home)
    return {row.row_id: row for row in found}


def _say(house: House, sample: dict[str, RowToRead], row_id: str, verdict: str, at: float) -> None:
    said = {row_id: Said.model_validate({"verdict": verdict, "note": "the colour is wrong"})}
    record_said(list(sample.values()), said, reader="Ada", ledger=house.ledger, now=at)


def test_rows_are_shown_for_what_they_took_and_at_random_until_they_are_read(night: House) -> None:
    sample = _pick(night)
    assert {"r1", "r2"} <= set(sample) <= {"r1", "r2", "r4"}
    assert sum(row.why != "random" for row in sample.values()) >= 1
    assert _pick(night) == sample
    _say(night, sample, "r1", "correct", 9e9)
    assert "r1" not in _pick(night)
    with night.ledger.reading() as connection:
        [reading] = find_readings(connection, [row.request_key for row in sample.values()])
    assert (reading.row_id, reading.verdict, reading.reader) == ("r1", "correct", "Ada")
    assert reading.picked_for == sample["r1"].why


def test_what_a_reader_calls_wrong_is_doubted_until_it_is_called_correct(night: House) -> None:
    sample = _pick(night)
    keys = dict(night.fetch("SELECT row_id, hex(delivery_key) FROM release_rows"))

    def is_doubted() -> bool:
        with night.ledger.reading() as connection:
            return keys["r1"].lower() in find_doubted(connection)

    assert not is_doubted()
    _say(night, sample, "r1", "wrong", 9e9)
    assert is_doubted()
    _say(night, sample, "r1", "correct", 9e9 + 1)
    assert not is_doubted()


def test_a_run_under_review_is_not_read(checked_night: House) -> None:
    with (
        checked_night.ledger.reading() as connection,
        pytest.raises(ReviewRefused, match="would tell which items are seeds"),
    ):
        find_readable_run(connection, RUN)
