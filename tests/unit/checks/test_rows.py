import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.checks import check_row
from overnight.checks.rows import Forbidden, MaxChars, NotEcho, Verbatim

QUOTE = Verbatim("evidence", "text")
SHORT = MaxChars("reply", 5)
POLITE = Forbidden("reply", ("as an AI", "i cannot help"))
FRESH = NotEcho("summary", "body")


@given(text=st.text(min_size=1), start=st.integers(0, 50), length=st.integers(1, 50))
def test_every_non_blank_piece_of_the_input_is_verbatim(text, start, length):
    piece = text[start : start + length]
    failure = check_row([QUOTE], {"text": text}, {"evidence": piece})
    assert (failure is None) == bool(piece.strip())


@given(text=st.text(), evidence=st.text())
def test_verbatim_passes_only_what_stands_in_the_input(text, evidence):
    passed = check_row([QUOTE], {"text": text}, {"evidence": evidence}) is None
    assert passed == (bool(evidence.strip()) and evidence in text)


@pytest.mark.parametrize("output", [{}, {"evidence": None}, {"evidence": ""}, {"evidence": "  "}, {"evidence": 3}])
def test_verbatim_fails_without_a_text(output):
    label, reason = check_row([QUOTE], {"text": "3   apples"}, output)
    assert label == "verbatim(evidence)"
    assert "evidence" in reason


def test_verbatim_says_that_the_row_lacks_the_input():
    assert "the row has no text" in check_row([QUOTE], {"text": None}, {"evidence": "a"})[1]


def test_verbatim_reads_inputs_that_are_numbers():
    assert check_row([QUOTE], {"text": 1234}, {"evidence": "23"}) is None


@pytest.mark.parametrize(("reply", "passes"), [("12345", True), ("123456", False), ("äöüßé", True)])
def test_max_chars_counts_characters(reply, passes):
    assert (check_row([SHORT], {}, {"reply": reply}) is None) == passes


def test_max_chars_names_field_count_and_limit():
    assert check_row([SHORT], {}, {"reply": "123456"}) == (
        "max_chars(reply)",
        "reply has 6 characters, more than the 5 allowed",
    )


def test_forbidden_ignores_case_and_names_the_phrase():
    label, reason = check_row([POLITE], {}, {"reply": "Well, AS AN ai model …"})
    assert label == "forbidden(reply)"
    assert reason == 'reply contains the forbidden phrase "as an AI"'


def test_forbidden_passes_other_text():
    assert check_row([POLITE], {}, {"reply": "I can help"}) is None


def test_not_echo_ignores_case_and_white_space():
    label, reason = check_row([FRESH], {"body": "The  printer\nburns"}, {"summary": " the printer burns "})
    assert label == "not_echo(summary)"
    assert reason == "summary only repeats body"


def test_not_echo_passes_a_text_of_its_own():
    assert check_row([FRESH], {"body": "The printer burns"}, {"summary": "Fire"}) is None


@pytest.mark.parametrize("output", [{}, {"reply": None, "summary": None}])
def test_a_field_that_is_not_there_passes_all_but_verbatim(output):
    assert check_row([SHORT, POLITE, FRESH], {"body": "x"}, output) is None


def test_the_first_failing_rule_is_told():
    output = {"evidence": "nowhere", "reply": "as an ai"}
    assert check_row([SHORT, QUOTE], {"text": "x"}, output)[0] == "max_chars(reply)"
    assert check_row([QUOTE, SHORT], {"text": "x"}, output)[0] == "verbatim(evidence)"


def test_no_rules_pass():
    assert check_row([], {}, {}) is None
