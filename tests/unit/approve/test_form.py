from __future__ import annotations

from typing import Any

from overnight.approve import fill_form, find_answers, name_field, parse_answers, read_form
from overnight.approve.form import ELSEWHERE
from overnight.records import Release
from tests.conftest import House

_WORDS = ["correct", "wrong", "unsure"]


def _describe_form(release: Release) -> dict[str, Any]:
    """The form of a release whose items fit one, as JSON schema."""
    fields: dict[str, Any] = {name_field(i): {"enum": _WORDS} for i in release.items}
    plain = {name: {"type": "string"} for name in ("corrections", "reviewer", "reason")}
    return {"properties": fields | plain | {"decision": {"enum": ["release", "hold", "reject"]}}}


def test_answers_come_back_from_a_form_as_they_went_in(house: House) -> None:
    release = house.offer(9)
    answers = house.answer(release, r3="wrong")
    assert parse_answers(read_form(fill_form(answers, _describe_form(release)))) == answers


def test_a_form_has_a_field_for_every_item(house: House) -> None:
    release = house.offer(9)
    filled = fill_form(house.answer(release), _describe_form(release))
    assert [name_field(i) for i in release.items] == [n for n in filled if n.startswith("item_")]


def test_a_form_without_items_says_that_they_were_read_elsewhere(house: House) -> None:
    schema = {"properties": {"decision": {"enum": ["reject", ELSEWHERE]}, "reviewer": {"type": "string"}}}
    filled = fill_form(house.answer(house.offer(40)), schema)
    assert filled == {"decision": ELSEWHERE, "reviewer": "Ada"}


def test_recorded_answers_can_be_filled_in_again(house: House) -> None:
    release = house.offer(20)
    answers = house.answer(release, "hold", **{release.items[0].row_id: "unsure"})
    house.decide(release, answers)
    assert find_answers(house.ledger, release) == answers
