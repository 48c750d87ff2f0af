"""Rows that another run has offered stay quarantined: no row is lost, and each keeps its answer."""

from __future__ import annotations

from dataclasses import replace

from overnight.complete import count_left, leave_taken, spare_lost
from overnight.intake.quarantine import list_set_aside
from overnight.parts import read_part, write_part
from overnight.records import Batch, CompletedBatch
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


def test_a_row_whose_request_is_another_runs_is_set_aside_before_it_is_asked(house: House) -> None:
    rows = [{"row_id": f"r{n}", "row_number": n, "input": "{}", "state": "pending"} for n in (1, 2, 3)]
    batch = Batch(1, write_part(rows, house.home), "0" * 64, n_rows=3, n_quarantined=0)
    assert spare_lost([batch], {}, house.home) == spare_lost([batch], {"r9": "run-2"}, house.home) == [batch]
    [spared], [again] = (spare_lost([batch], {"r2": run_id}, house.home) for run_id in ("run-2", "run-3"))
    assert (spared.n, spared.n_rows, spared.n_quarantined) == (1, 3, 1)
    # The cache goes by the digest: what is made of these is for nobody who has other rows to ask.
    assert len({batch.digest, spared.digest, again.digest}) == 3
    read = read_part(spared.part, house.home).to_pylist()
    assert [row["state"] for row in read] == ["pending", "quarantined", "pending"]
    assert (read[1]["rule"], "to run-2" in read[1]["reason"]) == ("offered_elsewhere", True)
    [aside] = list_set_aside({(1, 1): CompletedBatch(1, spared.part, "p", 0, 1, 2)}, house.home)
    # Nor is it a retry of this run that asks it.
    assert (aside.row_id, aside.is_asked_again) == ("r2", False)
