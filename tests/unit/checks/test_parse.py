import json

import pytest

from overnight.checks import Checks, parse_checks
from overnight.checks.rows import Forbidden, MaxChars, NotEcho, Verbatim
from overnight.failures import PromptRefused


def test_every_kind_of_rule_is_read_in_order():
    row = [
        {"rule": "verbatim", "field": "evidence", "of": "text"},
        {"rule": "max_chars", "field": "reply", "limit": 600},
        {"rule": "forbidden", "field": "reply", "phrases": ["as an ai"]},
        {"rule": "not_echo", "field": "summary", "of": "body"},
    ]
    assert parse_checks(json.dumps({"row": row}), prompt="triage").row == (
        Verbatim("evidence", "text"),
        MaxChars("reply", 600),
        Forbidden("reply", ("as an ai",)),
        NotEcho("summary", "body"),
    )


def test_batch_rules_keep_what_was_written_and_are_critical_unless_said():
    batch = [
        {"type": "expect_x", "kwargs": {"column": "a", "min_value": None}},
        {"type": "expect_y", "severity": "info"},
    ]
    first, second = parse_checks(json.dumps({"batch": batch}), prompt="triage").batch
    assert first == {
        "type": "expect_x",
        "kwargs": {"column": "a", "min_value": None},
        "severity": "critical",
        "meta": {},
    }
    assert (second["kwargs"], second["severity"]) == ({}, "info")


def test_an_empty_file_of_checks_has_none():
    assert parse_checks("{}", prompt="triage") == Checks()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"row": [', "is not JSON .*line 1 column 9"),
        ("[]", "at its top level"),
        ('{"rows": []}', "at rows"),
        (
            '{"row": [{"rule": "verbatim", "field": "a", "of": "b"}, {"rule": "max"}]}',
            r'row\[1\]: rule "max" is unknown',
        ),
        ('{"row": [{"field": "a"}]}', r'row\[0\]: the rule\'s name, "rule", is missing'),
        ('{"row": [{"rule": "max_chars", "field": "a"}]}', r"row\[0\]\.limit: field required"),
        ('{"row": [{"rule": "max_chars", "field": "a", "limit": "5"}]}', r"row\[0\]\.limit"),
        ('{"row": [{"rule": "not_echo", "field": "a", "of": "b", "off": 1}]}', r"row\[0\]\.off"),
        ('{"row": [{"rule": "forbidden", "field": "a", "phrases": ["x", ""]}]}', r"row\[0\]\.phrases\[1\]"),
        ('{"row": [{"rule": "forbidden", "field": "a", "phrases": []}]}', r"row\[0\]\.phrases"),
        ('{"batch": [{"kwargs": {}}]}', r"batch\[0\]\.type: field required"),
        ('{"batch": [{"type": "a"}, {"type": "a", "severity": "bad"}]}', r"batch\[1\]\.severity"),
        ('{"batch": [{"type": "a", "kwarg": {}}]}', r"batch\[0\]\.kwarg"),
    ],
)
def test_a_wrong_file_is_refused_on_one_line_with_prompt_and_place(text, place):
    with pytest.raises(PromptRefused, match=place) as refused:
        parse_checks(text, prompt="triage")
    assert str(refused.value).startswith("Prompt triage: checks.json ")
    assert "\n" not in str(refused.value)
