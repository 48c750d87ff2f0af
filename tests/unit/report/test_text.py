from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.report.text import show_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("5 €, naïve, 日本", "5 €, naïve, 日本"),
        ("red\x1b[2K\rblue", r"red\x1b[2K\rblue"),
        ("\u202eder \u200b\x07\t\x00", r"\u202eder \u200b\x07\t\x00"),
        ("one\ntwo", "one\n        two"),
        (1.5, "1.5"),
        ({"a": ["\x1b"]}, r'{"a":["\u001b"]}'),
        (None, "null"),
    ],
)
def test_control_characters_are_shown_by_their_codes(value: object, shown: str) -> None:
    assert show_value(value) == shown


@given(st.text())
def test_whatever_the_text_nothing_of_it_controls_a_terminal(text: str) -> None:
    shown = show_value(text).replace("\n", "")
    assert not [c for c in shown if unicodedata.category(c)[0] == "C"]
