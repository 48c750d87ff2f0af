from __future__ import annotations

import re
from typing import Any

import pytest

from overnight.approve import fill_form, parse_answers, read_form
from overnight.failures import ReviewRefused
from overnight.records import Release
from tasks.approve import parse_form
from tasks.form import N_FORM, describe_release, make_form
from tests.conftest import House


def _schema(release: Release, *, demands_code: bool = False) -> dict[str, Any]:
    return make_form(release, "", demands_code=demands_code).model_json_schema()


def test_a_form_asks_for_a_verdict_on_each_item_and_for_a_decision(house: House) -> None:
    release = house.offer(5)
    schema = _schema(release)
    items = [f"item_{i.item:02d}" for i in release.items]
    assert set(schema["required"]) == {*items, "decision", "reviewer"}
    assert schema["properties"]["decision"]["enum"] == ["release", "hold", "reject"]
    assert not [name for name, field in schema["properties"].items() if name in items and "default" in field]


def test_a_form_asks_for_a_code_where_one_is_demanded(house: House) -> None:
    schema = _schema(house.offer(5), demands_code=True)
    assert "code" in schema["required"]
    assert re.match(schema["properties"]["code"]["pattern"], "123 456")


def test_a_form_of_too_many_items_rejects_or_says_that_they_were_reviewed_elsewhere(house: House) -> None:
    release = house.offer(400)
    assert len(release.items) > N_FORM
    schema = _schema(release)
    assert set(schema["properties"]) == {"decision", "reviewer", "reason"}
    assert schema["properties"]["decision"]["enum"] == ["reject", "reviewed elsewhere"]
    assert f"overnight review {release.run_id} --web" in schema["properties"]["decision"]["description"]


def test_saying_that_it_was_reviewed_elsewhere_decides_nothing(house: House) -> None:
    release = house.offer(400)
    with pytest.raises(ReviewRefused, match="the ledger has no decision on it"):
        parse_form({"decision": "reviewed elsewhere", "reviewer": "Ada", "items": {}}, release)


def test_a_correction_in_the_form_is_a_verdict(house: House) -> None:
    release = house.offer(5)
    filled = fill_form(house.answer(release), _schema(release)) | {"corrections": '{"1": {"label": "green"}}'}
    given = parse_answers(read_form(filled), code="1").items
    assert given[1] != house.answer(release).items[1]
    assert {n: v for n, v in given.items() if n > 1} == {n: v for n, v in house.answer(release).items.items() if n > 1}


@pytest.mark.parametrize("text", ["{", "[1]", '{"1": 3}', '{"one": {}}'])
def test_corrections_that_are_no_json_of_items_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ReviewRefused) as caught:
        read_form({"decision": "release", "item_01": "correct", "corrections": text})
    assert "\n" not in str(caught.value)


def test_a_form_that_is_filled_to_wake_a_run_is_one_that_prefect_takes(house: House) -> None:
    few, many = house.offer(5, now=1.0), house.offer(400, now=2.0)
    answers = house.answer(few)
    for release in (few, many):
        form = make_form(release, "", demands_code=True)
        form.model_validate(fill_form(answers, form.model_json_schema()))


def test_what_waits_says_how_many_seeds_there_are_and_what_the_last_round_came_to(house: House) -> None:
    text = describe_release(house.offer(400), "0 of 3 seeds were caught.")
    assert "3 of the items were made to be plainly wrong" in text
    assert "0 of 3 seeds were caught" in text
    assert "leave only if what you read at random shows that few are wrong" in text


def _count_rows(text: str) -> int:
    return len(re.findall(r"^\| \d+ \|", text, re.MULTILINE))


def test_the_table_of_a_large_round_ends_with_where_the_rest_is_read(house: House) -> None:
    release = house.offer(400)
    text = describe_release(release)
    assert _count_rows(text) == N_FORM
    n_more = len(release.items) - N_FORM
    assert text.splitlines()[-2:] == [
        "",
        f"{n_more} more are read on the page: `overnight review {release.run_id} --web`.",
    ]


def test_a_round_that_a_form_bears_is_shown_whole(house: House) -> None:
    release = house.offer(5)
    text = describe_release(release)
    assert _count_rows(text) == len(release.items)
    assert "--web" not in text
