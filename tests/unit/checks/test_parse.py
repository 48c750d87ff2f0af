import json
from pathlib import Path

import pytest

from overnight.checks import Checks, parse_checks, refuse_unknown_fields
from overnight.checks.rows import Forbidden, MaxChars, NotEcho, Verbatim
from overnight.failures import PromptRefused
from overnight.prompts import load_prompt

PROMPTS = Path(__file__).parents[3] / "prompts"


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


def refuse(checks, *, fields=("label", "quote"), inputs=("body",)):
    refuse_unknown_fields(parse_checks(json.dumps(checks), prompt="sort"), prompt="sort", fields=fields, inputs=inputs)


def expect(**kwargs):
    return {"batch": [{"type": "expect_x", "kwargs": kwargs}]}


@pytest.mark.parametrize(
    ("checks", "place"),
    [
        ({"row": [{"rule": "max_chars", "field": "qoute", "limit": 5}]}, r"'qoute' at row\[0\]\.field"),
        ({"row": [{"rule": "verbatim", "field": "quote", "of": "bdoy"}]}, r"'bdoy' at row\[0\]\.of"),
        # An output field is no input, nor the other way round.
        ({"row": [{"rule": "not_echo", "field": "quote", "of": "label"}]}, r"'label' at row\[0\]\.of"),
        ({"row": [{"rule": "max_chars", "field": "body", "limit": 5}]}, r"'body' at row\[0\]\.field"),
        (expect(column="lable"), r"'lable' at batch\[0\]\.kwargs\.column"),
        (expect(column="body"), r"'body' at batch\[0\]\.kwargs\.column"),
        (expect(column_A="label", column_B="quot"), r"'quot' at batch\[0\]\.kwargs\.column_B"),
        (expect(column_list=["label", "quot"]), r"'quot' at batch\[0\]\.kwargs\.column_list"),
        (expect(column_set=["quot"]), r"'quot' at batch\[0\]\.kwargs\.column_set"),
    ],
)
def test_a_name_that_the_prompt_does_not_have_is_refused_with_its_place(checks, place):
    with pytest.raises(PromptRefused, match=f"names {place}, which is none of") as refused:
        refuse(checks)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "checks",
    [
        {"row": [{"rule": "verbatim", "field": "quote", "of": "body"}]},
        expect(column="label"),
        expect(column="input.body"),
        expect(column_list=["row_id", "row_number", "quote"]),
        expect(column="label", column_index=3),
        expect(min_value=1),
    ],
)
def test_names_that_the_prompt_has_pass(checks):
    refuse(checks)


@pytest.mark.parametrize("name", sorted(p.name for p in PROMPTS.iterdir() if p.is_dir()))
def test_the_committed_prompts_name_what_they_have(name):
    prompt = load_prompt(name, PROMPTS)
    refuse_unknown_fields(
        parse_checks(prompt.checks, prompt=name),
        prompt=name,
        fields=json.loads(prompt.schema)["properties"],
        inputs=(*prompt.inputs, *prompt.optional_inputs),
    )
