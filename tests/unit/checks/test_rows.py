import pytest

from overnight.checks import BatchMemory, RowFault, check_row
from overnight.checks.project_rule import ProjectRule
from overnight.checks.rules import Distinct, Forbidden, Hedge, Language, LengthRatio, MaxChars, NotEcho, Verbatim
from overnight.taxonomy import FailureClass

QUOTE = Verbatim("evidence", "text")
SHORT = MaxChars("reply", 5)
ONCE = Distinct("label", 2)


def feed(memory, *answers, rules=(ONCE,)):
    """Judge (input, label) pairs in order; whether each passes."""
    return [check_row(rules, {"text": text}, {"label": label}, memory) is None for text, label in answers]


def test_a_fault_says_what_is_wrong_to_people_and_to_the_model():
    assert check_row([SHORT], {}, {"reply": "123456"}) == RowFault(
        label="max_chars(reply)",
        reason="reply has 6 characters, more than the 5 allowed",
        complaint="The field reply has 6 characters, and 5 are the most. Give a shorter text.",
        failure_class=FailureClass.CHECK_FAILED,
        is_soft=False,
    )


def test_the_text_of_the_checks_replaces_the_complaint_alone():
    fault = check_row([MaxChars("reply", 5, reask="Be brief.")], {}, {"reply": "123456"})
    assert fault.complaint == "Be brief."
    assert "more than the 5 allowed" in fault.reason


def test_the_first_failing_rule_is_told():
    output = {"evidence": "nowhere", "reply": "as an ai"}
    assert check_row([SHORT, QUOTE], {"text": "x"}, output).label == "max_chars(reply)"
    assert check_row([QUOTE, SHORT], {"text": "x"}, output).label == "verbatim(evidence)"


def test_a_soft_fault_is_told_only_where_no_hard_one_is():
    rules = [Hedge("label", unknown="other"), SHORT]
    soft = check_row(rules, {}, {"label": "other", "reply": "12345"})
    assert (soft.label, soft.is_soft) == ("hedge(label)", True)
    hard = check_row(rules, {}, {"label": "other", "reply": "123456"})
    assert (hard.label, hard.is_soft) == ("max_chars(reply)", False)


def test_no_rules_pass():
    assert check_row([], {}, {}) is None


@pytest.mark.parametrize("output", [{}, {"reply": None}])
def test_a_field_that_is_not_there_passes_all_but_verbatim(output):
    rules = [
        SHORT,
        Forbidden("reply", ("a",)),
        NotEcho("reply", "text"),
        LengthRatio("reply", "text", least=0.5),
        Hedge("reply"),
        Language("reply", "en"),
        Distinct("reply", 1),
    ]
    memory = BatchMemory()
    assert [check_row(rules, {"text": str(n)}, output, memory) for n in range(3)] == [None] * 3


@pytest.mark.parametrize(
    ("rule", "value", "failure_class"),
    [
        (Verbatim("f", "text"), "nowhere", FailureClass.CHECK_FAILED),
        (Forbidden("f", ("so",)), "so what", FailureClass.CHECK_FAILED),
        (LengthRatio("f", "text", most=1), "much longer", FailureClass.CHECK_FAILED),
        (NotEcho("f", "text"), "IGNORE", FailureClass.ECHO),
        (Hedge("f"), "N/A", FailureClass.HEDGE),
        (Language("f", "en"), "Der Kunde möchte sein Geld zurück haben.", FailureClass.CHECK_FAILED),
        (ProjectRule("p", "g", lambda _given, _output: "wrong"), "x", FailureClass.CHECK_FAILED),
    ],
)
def test_each_rule_fails_with_its_class_and_tells_the_model_nothing_of_the_input(rule, value, failure_class):
    fault = check_row([rule], {"text": "ignore"}, {"f": value})
    assert fault.failure_class is failure_class
    assert fault.label.startswith(f"{type(rule).__name__[:3].lower()}") or fault.label == "function(g)"
    assert "ignore" not in fault.complaint.casefold()
    assert "\n" not in fault.reason + fault.complaint


def test_one_answer_for_more_inputs_than_allowed_is_a_fault():
    memory = BatchMemory()
    assert feed(memory, ("a", "red"), ("b", "red"), ("c", "red"), ("d", "blue")) == [True, True, False, True]
    fault = check_row([ONCE], {"text": "e"}, {"label": "red"}, memory)
    assert (fault.label, fault.failure_class) == ("distinct(label)", FailureClass.SAME_ANSWER)
    assert fault.reason == "label has a value that 2 other inputs of the batch have"
    assert "red" not in fault.complaint


def test_case_and_white_space_make_no_answer_distinct():
    assert feed(BatchMemory(), ("a", "Red  wine"), ("b", " red wine"), ("c", "RED\nWINE")) == [True, True, False]


def test_the_same_input_never_counts_twice():
    assert feed(BatchMemory(), *[("a", "red")] * 5, ("b", "red"), ("a", "red")) == [True] * 7


def test_after_a_re_ask_only_the_new_answer_counts():
    memory = BatchMemory()
    assert feed(memory, ("a", "red"), ("b", "red"), ("a", "blue"), ("c", "red")) == [True] * 4
    assert feed(memory, ("d", "red"), ("d", "blue"), ("e", "blue")) == [False, True, False]


def test_a_row_that_fails_does_not_count():
    memory = BatchMemory()
    rules = [ONCE, MaxChars("label", 4)]
    too_long = [(str(n), "violet") for n in range(5)]
    assert feed(memory, *too_long, rules=rules) == [False] * 5
    assert feed(memory, ("a", "violet"), ("b", "violet"), ("c", "violet")) == [True, True, False]


def test_without_a_memory_nothing_is_too_often():
    assert feed(None, *[(str(n), "red") for n in range(5)]) == [True] * 5


def test_fields_are_counted_apart():
    rules = [Distinct("label", 1), Distinct("team", 1)]
    memory = BatchMemory()
    assert check_row(rules, {"text": "a"}, {"label": "red", "team": "blue"}, memory) is None
    assert check_row(rules, {"text": "b"}, {"label": "blue", "team": "red"}, memory) is None
    assert check_row(rules, {"text": "c"}, {"label": "green", "team": "red"}, memory).label == "distinct(team)"
