"""Rows that another run has offered stay quarantined: no row is lost, and each keeps its answer."""

from __future__ import annotations

from dataclasses import replace

from overnight.complete import count_left, leave_taken
from overnight.intake.quarantine import list_set_aside
from overnight.parts import read_part
from overnight.records import CompletedBatch
from tests.conftest import House


def _complete(house: House, n: int = 1) -> CompletedBatch:
    prompt = house.make_prompt()
    checked = house.check(["one", "two", "three"], prompt, n)
    return CompletedBatch(n, checked.part, prompt.prompt_hash, 3, 0, 0)


def test_an_accepted_row_of_another_run_is_set_aside_with_its_answer_and_may_be_retried(house: House) -> None:
    batch = _complete(house)
    [left] = leave_taken([batch], {"r2": "retry-1", "r9": "retry-1"}, house.home)
    assert (left.n_accepted, left.n_quarantined, left.n_pending) == (2, 1, 0)
    rows = read_part(left.part, house.home).to_pylist()
    assert [row["state"] for row in rows] == ["accepted", "quarantined", "accepted"]
    assert rows[1]["output"] is not None
    [aside] = list_set_aside({(1, 1): left}, house.home)
    assert (aside.row_id, aside.failure_class, aside.rule) == ("r2", "batch_rule", "offered_elsewhere")
    assert aside.is_asked_again
    assert leave_taken([left], {"r2": "retry-1"}, house.home) == [left]


def test_a_batch_without_such_a_row_is_as_it_was(house: House) -> None:
    batch = _complete(house)
    assert leave_taken([batch], {}, house.home) == [batch]
    assert leave_taken([batch], {"r9": "retry-1"}, house.home) == [batch]


def test_of_the_rows_set_aside_those_of_another_run_are_counted(house: House) -> None:
    checked = house.check(["one", "two", "three"], house.make_prompt())
    [left] = leave_taken([_complete(house)], {"r1": "retry-1", "r2": "retry-1"}, house.home)
    aside = replace(checked, part=left.part, n_accepted=1, n_quarantined=2)
    assert count_left([aside], {"r2": "retry-1", "r3": "retry-1"}, house.home) == 1
    assert count_left([aside], {}, house.home) == 0
