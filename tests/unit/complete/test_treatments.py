"""Each class of failure, provoked over HTTP: the calls that it takes, and what becomes of the row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from overnight.taxonomy import TREATMENTS, FailureClass
from tests.failure_cases import CASES, ELSEWHERE, PAGE, Case, render_page
from tests.fakes.provider import Scripted
from tests.unit.complete.conftest import Desk

_NAMES = [f"{n}-{case.failure_class}" for n, case in enumerate(CASES)]
MENDED = [case for case in CASES if case.n_calls_if_mended]


def in_turn(*answers: Scripted) -> Callable[[dict[str, Any]], Scripted]:
    """One answer after the other, then good ones."""
    left = list(answers)
    return lambda _: left.pop(0) if left else Scripted()


@pytest.mark.parametrize("case", CASES, ids=_NAMES)
def test_a_failure_that_stays_becomes_what_the_table_says(desk: Desk, case: Case) -> None:
    desk.fake.answer = lambda _: case.scripted
    prompt = desk.make_prompt(*case.rules)
    [row] = desk.ask(["some words"], prompt)
    assert row["state"] == case.becomes.partition(",")[0]
    assert bool(desk.why_halted()) == ("halts" in case.becomes)
    assert len(desk.fake.calls) == case.n_calls
    failed = {failure_class for (failure_class,) in desk.house.fetch("SELECT failure_class FROM attempts")}
    assert failed == {case.failure_class}
    if row["state"] == "quarantined":
        assert row["failure_class"] == case.failure_class
        assert "\n" not in row["reason"]
        # It is remembered: nothing is paid for again.
        assert desk.ask(["some words"], prompt) == [row]
        assert len(desk.fake.calls) == case.n_calls


@pytest.mark.parametrize("case", MENDED, ids=lambda case: case.failure_class)
def test_a_failure_that_passes_costs_the_row_nothing_but_calls(desk: Desk, case: Case) -> None:
    desk.fake.answer = in_turn(case.scripted)
    [row] = desk.ask(["some words"], desk.make_prompt(*case.rules))
    assert (row["state"], row["failure_class"], len(desk.fake.calls)) == ("accepted", None, case.n_calls_if_mended)


def test_every_class_is_provoked_somewhere() -> None:
    assert {case.failure_class for case in CASES} | set(ELSEWHERE) == set(FailureClass) == set(TREATMENTS)


def test_the_page_shows_the_tables_as_they_are() -> None:
    page = PAGE.read_text()
    assert render_page(page) == page, "docs/failures.md is not up to date: python -m tests.failure_cases"


def test_where_nothing_listens_a_row_is_tried_four_times_and_left_pending(desk: Desk) -> None:
    [row] = desk.ask(["some words"], desk.house.make_prompt())
    assert (row["state"], row["failure_class"]) == ("pending", "connect")
    assert desk.house.fetch("SELECT count(*) FROM attempts") == [(4,)]


def test_one_answer_for_too_many_inputs_is_asked_again_once_and_set_aside(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1)
    desk.fake.answer = lambda _: Scripted(text='{"label": "red", "quote": "the same"}')
    prompt = desk.make_prompt({"rule": "distinct", "field": "quote", "limit": 1})
    rows = desk.ask(["one", "two"], prompt)
    assert sorted((row["state"], row["failure_class"]) for row in rows) == [
        ("accepted", None),
        ("quarantined", "same_answer"),
    ]
    assert len(desk.fake.calls) == 3
