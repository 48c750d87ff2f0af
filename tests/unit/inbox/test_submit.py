"""Requests from outside are kept once, as they were sent, and refused where no prompt could be asked them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from overnight.failures import InputRefused
from overnight.inbox import Submitted, find, submit, submit_all
from overnight.records import InboxState
from tests.conftest import DATABASES, House


def send(house: House, row: dict[str, Any], *, now: float = 1.0) -> Submitted:
    return submit(row, house.make_prompt(), ledger=house.ledger, sent_by="Ada", now=now)


@pytest.mark.parametrize("database", DATABASES)
def test_the_same_request_again_has_the_same_key_and_stands_where_it_stood(house: House) -> None:
    first, again = send(house, {"id": "r1", "body": "words"}), send(house, {"body": "words", "id": "r1"}, now=9.0)
    found = find(first.inbox_key, ledger=house.ledger)
    assert (first.is_new, again.is_new, again.inbox_key) == (True, False, first.inbox_key)
    assert found is not None
    assert (found.state, found.row_id, found.received_at, found.answer) == (InboxState.QUEUED, "r1", 1.0, None)


def test_a_row_that_stands_twice_in_one_lot_is_new_once(house: House) -> None:
    rows = [{"id": "r1", "body": "words"}, {"id": "r1", "body": "words"}, {"id": "r1", "body": "other words"}]
    made = submit_all(rows, house.make_prompt(), ledger=house.ledger, sent_by="Ada", now=1.0)
    assert [m.is_new for m in made] == [True, False, True]
    assert len({m.inbox_key for m in made}) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": "r1"}, "no 'body'"),
        ({"body": "words"}, "no 'id'"),
        ({"id": " ", "body": "words"}, "no 'id'"),
        ({"id": "r1", "body": "words", "urgent": True}, "'urgent', which prompt sort does not read"),
        ({"id": 1.5, "body": "words"}, "no text and no whole number"),
        ({"id": "r1", "body": "a\0b"}, "NUL"),
        ({"id": "r1", "body": "\ud800"}, "cannot be written as JSON"),
        ({"id": "r1", "body": "x" * 2**20}, "at most 1,048,576 are taken"),
    ],
)
def test_a_row_that_no_prompt_could_be_asked_is_refused_by_name(house: House, row: dict[str, Any], why: str) -> None:
    with pytest.raises(InputRefused, match=why) as refused:
        send(house, row)
    assert "\n" not in str(refused.value)
    assert house.fetch("SELECT count(*) FROM inbox") == [(0,)]


def test_what_looks_like_a_key_is_kept_nowhere(house: House) -> None:
    send(house, {"id": "r1", "body": "my key is sk-proj-abcdefghijABCDEFGHIJ0123456789"})
    [(kept,)] = house.fetch("SELECT input FROM inbox")
    assert "sk-proj" not in kept


def test_there_is_no_request_under_another_key(house: House) -> None:
    assert find("0" * 64, ledger=house.ledger) is None


def test_a_prompt_may_read_the_column_that_names_the_row(house: House) -> None:
    prompt = dataclasses.replace(house.make_prompt(), inputs=("id", "body"))
    submit({"id": "r1", "body": "words"}, prompt, ledger=house.ledger, sent_by="Ada", now=1.0)
    assert house.fetch("SELECT input FROM inbox") == [('{"body":"words","id":"r1"}',)]


def test_a_text_that_only_spells_a_nul_is_taken(house: House) -> None:
    assert send(house, {"id": "r1", "body": "a \\u0000 in a text"}).is_new
