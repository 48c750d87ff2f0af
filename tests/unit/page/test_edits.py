from __future__ import annotations

from typing import Any

import pytest

from overnight.page.edits import EditRefused, list_fields, read_changes
from overnight.records import ReviewItem
from tests.unit.page.conftest import SCHEMA


def _change(output: dict[str, Any], schema: Any = SCHEMA, **typed: str) -> dict[str, Any]:
    sent = {name.replace("_", "-"): value for name, value in typed.items()}
    return read_changes(ReviewItem(1, "r1", {}, output), schema, sent)


def test_each_field_gets_the_input_of_its_kind() -> None:
    output = {"label": "red", "quote": "a", "n": 1, "more": {"a": [1]}, "is_new": True}
    schema = {"properties": SCHEMA["properties"] | {"is_new": {"type": "boolean"}}, "$defs": SCHEMA["$defs"]}  # type: ignore[operator]
    found = {f.name: (f.kind, f.text) for f in list_fields(output, schema)}
    assert found["label"] == ("choice", '"red"')
    assert found["quote"] == ("text", "a")
    assert found["n"] == ("json", "1")
    assert found["more"][0] == "json"
    assert found["is_new"] == ("choice", "true")


def test_a_choice_offers_what_is_there_even_if_it_does_not_fit() -> None:
    [field] = list_fields({"label": "pink"}, SCHEMA)
    assert field.options == (('"red"', "red"), ('"green"', "green"), ("null", "null"), ('"pink"', "pink"))


def test_only_what_was_changed_is_a_correction() -> None:
    output = {"label": "red", "quote": "a", "n": 1}
    assert _change(output, field_0="null", field_1="a", field_2="2") == {"label": None, "n": 2}


@pytest.mark.parametrize("was", ["a\nb", "a\r\nb", "\n\na", "a\r", "a\0b", " a "])
def test_what_a_browser_makes_of_a_text_is_no_change(was: str) -> None:
    sent = was.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").replace("\0", "\ufffd")
    with pytest.raises(EditRefused, match="Nothing was changed"):
        _change({"label": "red", "quote": was}, field_1=sent)


def test_a_changed_text_has_plain_line_ends() -> None:
    assert _change({"label": "red", "quote": "a"}, field_1="b\r\nc") == {"quote": "b\nc"}


@pytest.mark.parametrize(("typed", "why"), [("two", "is no JSON"), ("", "is no JSON"), ("1.5", "does not fit")])
def test_what_the_schema_or_json_refuses_names_its_field(typed: str, why: str) -> None:
    with pytest.raises(EditRefused, match=why) as refused:
        _change({"label": "red", "quote": "a", "n": 1}, field_2=typed)
    assert refused.value.field == "n"


def test_a_number_that_is_equal_is_no_change() -> None:
    with pytest.raises(EditRefused, match="Nothing was changed"):
        _change({"label": "red", "quote": "a", "n": 1}, field_2="1.0")


def test_a_schema_that_refers_to_itself_is_no_choice() -> None:
    schema = {"properties": {"label": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert list_fields({"label": "red"}, schema)[0].kind == "text"
