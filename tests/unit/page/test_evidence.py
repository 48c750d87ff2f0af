from __future__ import annotations

from typing import Any

import pytest

from overnight.page.evidence import Field, mark_evidence


def _marked(fields: list[Field]) -> list[str]:
    return [piece.text for field in fields for piece in field.pieces if piece.is_marked]


@pytest.mark.parametrize(
    ("text", "output", "marked"),
    [
        ("The app CRASHES on login.", "crashes on LOGIN", ["CRASHES on login"]),
        ("the app\n crashes", "the app crashes", ["the app\n crashes"]),
        ("It says no entry here.", 'He reads "no entry" twice', ["no entry"]),
        ("It says no entry here.", "He reads “no entry” … “says”", ["says", "no entry"]),
        ("I don't know", "They wrote: 'I don't know'.", ["I don't know"]),
        ("my mother", "other", []),
        ("the others and another one", "other", []),
        ("one red door", "red", []),
        ("価格は高いです", "価格は高い", ["価格は高い"]),
        ("a.c abc", "a.c abc", ["a.c abc"]),
    ],
)
def test_what_stands_verbatim_in_the_input_is_marked(text: str, output: str, marked: list[str]) -> None:
    inputs, _ = mark_evidence({"body": text}, {"quote": output})
    assert _marked(inputs) == marked


def test_the_same_words_are_marked_in_the_output() -> None:
    _, outputs = mark_evidence({"body": "The door is open."}, {"quote": 'It says "the door is open" now.'})
    assert _marked(outputs) == ["the door is open"]


def test_strings_within_lists_and_objects_are_looked_for_too() -> None:
    inputs, _ = mark_evidence({"body": "from Porto to Lisbon"}, {"places": ["Porto", {"name": "Lisbon"}], "n": 2})
    assert _marked(inputs) == ["Porto", "Lisbon"]


@pytest.mark.parametrize("value", ["", "a\nb", "x" * 5000, {"a": [1, {"b": None}]}, [1, 2], 3, None, "\u202e"])
def test_the_pieces_of_a_field_are_its_whole_text(value: Any) -> None:
    [field], _ = mark_evidence({"body": value}, {"quote": value})
    text = "".join(piece.text for piece in field.pieces)
    assert text == (value.replace("\u202e", "\\u202e") if isinstance(value, str) else text)
    assert text or value == ""
