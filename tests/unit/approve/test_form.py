from __future__ import annotations

from overnight.approve import fill_form, find_answers, name_field, parse_answers, read_form
from tests.conftest import House


def test_answers_come_back_from_a_form_as_they_went_in(house: House) -> None:
    release = house.offer(12)
    answers = house.answer(release, r3="wrong")
    assert parse_answers(read_form(fill_form(answers))) == answers


def test_a_form_has_a_field_for_every_item(house: House) -> None:
    release = house.offer(12)
    assert [name_field(i) for i in release.items] == [
        n for n in fill_form(house.answer(release)) if n.startswith("item_")
    ]


def test_recorded_answers_can_be_filled_in_again(house: House) -> None:
    release = house.offer(2)
    house.approve(release, r2="unsure")
    assert find_answers(house.ledger, release) == house.answer(release, r2="unsure")
