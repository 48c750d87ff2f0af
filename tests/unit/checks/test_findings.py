import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.checks import check_row
from overnight.checks.rules import Forbidden, Hedge, Language, LengthRatio, MaxChars, NotEcho, Verbatim

QUOTE = Verbatim("evidence", "text")
SHORT = MaxChars("reply", 5)
POLITE = Forbidden("reply", ("as an AI", "i cannot help"))
FRESH = NotEcho("summary", "body")
GERMAN = "Der Kunde möchte sein Geld zurück haben."
ENGLISH = "The customer would like to have the money back."


@given(text=st.text(min_size=1), start=st.integers(0, 50), length=st.integers(1, 50))
def test_every_non_blank_piece_of_the_input_is_verbatim(text, start, length):
    piece = text[start : start + length]
    fault = check_row([QUOTE], {"text": text}, {"evidence": piece})
    assert (fault is None) == bool(piece.strip())


@given(text=st.text(), evidence=st.text())
def test_verbatim_passes_only_what_stands_in_the_input(text, evidence):
    passed = check_row([QUOTE], {"text": text}, {"evidence": evidence}) is None
    assert passed == (bool(evidence.strip()) and evidence in text)


@pytest.mark.parametrize("output", [{}, {"evidence": None}, {"evidence": ""}, {"evidence": "  "}, {"evidence": 3}])
def test_verbatim_fails_without_a_text(output):
    fault = check_row([QUOTE], {"text": "3   apples"}, output)
    assert fault.label == "verbatim(evidence)"
    assert "evidence" in fault.reason


def test_verbatim_tells_the_model_where_to_copy_from():
    assert check_row([QUOTE], {"text": "three apples"}, {"evidence": "two"}).complaint == (
        "The field evidence must be copied word for word from text, and your text does not stand there. "
        "Copy a passage of text exactly."
    )


def test_verbatim_says_that_the_row_lacks_the_input():
    assert "the row has no text" in check_row([QUOTE], {"text": None}, {"evidence": "a"}).reason


def test_verbatim_reads_inputs_that_are_numbers():
    assert check_row([QUOTE], {"text": 1234}, {"evidence": "23"}) is None


@pytest.mark.parametrize(("reply", "passes"), [("12345", True), ("123456", False), ("äöüßé", True)])
def test_max_chars_counts_characters(reply, passes):
    assert (check_row([SHORT], {}, {"reply": reply}) is None) == passes


def test_forbidden_ignores_case_and_names_the_phrase():
    fault = check_row([POLITE], {}, {"reply": "Well, AS AN ai model …"})
    assert fault.label == "forbidden(reply)"
    assert fault.reason == 'reply contains the forbidden phrase "as an AI"'
    assert '"as an AI"' in fault.complaint


def test_forbidden_passes_other_text():
    assert check_row([POLITE], {}, {"reply": "I can help"}) is None


def test_not_echo_ignores_case_and_white_space():
    fault = check_row([FRESH], {"body": "The  printer\nburns"}, {"summary": " the printer burns "})
    assert fault.label == "not_echo(summary)"
    assert fault.reason == "summary only repeats body"


def test_not_echo_passes_a_text_of_its_own():
    assert check_row([FRESH], {"body": "The printer burns"}, {"summary": "Fire"}) is None


@pytest.mark.parametrize(
    ("bounds", "summary", "told"),
    [
        ({"most": 0.5}, "12345", None),
        ({"most": 0.5}, "123456", "summary has 6 characters and body 10, a share of 0.6, more than 0.5"),
        ({"least": 0.2}, "12", None),
        ({"least": 0.2}, "1", "summary has 1 characters and body 10, a share of 0.1, less than 0.2"),
        ({"least": 0.2, "most": 0.5}, "1234", None),
        ({"least": 1, "most": 2}, "1" * 20, None),
    ],
)
def test_length_ratio_holds_a_text_against_its_input(bounds, summary, told):
    fault = check_row([LengthRatio("summary", "body", **bounds)], {"body": "0123456789"}, {"summary": summary})
    assert (fault and fault.reason) == told


def test_length_ratio_tells_the_model_the_bound():
    fault = check_row([LengthRatio("summary", "body", most=0.5)], {"body": "12"}, {"summary": "12"})
    assert fault.complaint == (
        "The field summary is too long beside body: give at most 0.5 times as many characters as body has."
    )


@pytest.mark.parametrize("body", [None, ""])
def test_length_ratio_passes_beside_an_input_without_text(body):
    assert check_row([LengthRatio("summary", "body", most=0.5)], {"body": body}, {"summary": "12"}) is None


def test_hedge_offers_the_model_the_value_for_not_known():
    fault = check_row([Hedge("label", unknown="other")], {}, {"label": "Unable to determine."})
    assert fault.reason == 'label holds a hedge, "unable to determine"'
    assert not fault.is_soft
    assert 'give "other"' in fault.complaint
    assert "other" not in check_row([Hedge("label")], {}, {"label": "N/A"}).complaint


def test_the_value_for_not_known_is_a_soft_fault_although_it_is_in_the_list():
    fault = check_row([Hedge("label", unknown="unknown")], {}, {"label": "unknown"})
    assert fault.is_soft
    assert fault.reason == 'label is "unknown"'
    assert not check_row([Hedge("label", unknown="unknown")], {}, {"label": "Unknown"}).is_soft


def test_hedge_phrases_replace_the_list():
    rule = Hedge("label", phrases=("no idea",))
    assert check_row([rule], {}, {"label": "N/A"}) is None
    assert check_row([rule], {}, {"label": "No  idea, sorry"}).reason == 'label holds a hedge, "no idea"'


def test_language_names_both_languages():
    fault = check_row([Language("reply", "en")], {}, {"reply": GERMAN})
    assert fault.label == "language(reply)"
    assert fault.reason == 'reply is in the language "de", not in "en"'
    assert 'the language with the code "en"' in fault.complaint
    assert check_row([Language("reply", "de")], {}, {"reply": GERMAN}) is None


def test_language_follows_the_input():
    rule = Language("reply", of="body")
    assert check_row([rule], {"body": GERMAN}, {"reply": GERMAN}) is None
    fault = check_row([rule], {"body": GERMAN}, {"reply": ENGLISH})
    assert fault.reason == 'reply is in the language "en", not in "de" as body is'
    assert fault.complaint == (
        "The field reply must be in the language of body and is in another. Write it in the language of body."
    )


@pytest.mark.parametrize("body", [None, "", "Geld zurück", "4711 4711 4711 4711 4711 4711 4711 4711"])
def test_language_passes_beside_an_input_that_cannot_be_told(body):
    assert check_row([Language("reply", of="body")], {"body": body}, {"reply": ENGLISH}) is None
