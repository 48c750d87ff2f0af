import json
from pathlib import Path

import pytest

from overnight.checks import Checks, parse_checks, refuse_unknown_fields
from overnight.checks.rules import Distinct, Forbidden, Hedge, Language, LengthRatio, MaxChars, NotEcho, Verbatim
from overnight.failures import PromptRefused
from overnight.prompts import load_prompt

PROMPTS = Path(__file__).parents[3] / "prompts"


def test_every_kind_of_rule_is_read_in_order():
    row = [
        {"rule": "verbatim", "field": "evidence", "of": "text"},
        {"rule": "max_chars", "field": "reply", "limit": 600},
        {"rule": "forbidden", "field": "reply", "phrases": ["as an ai"]},
        {"rule": "not_echo", "field": "summary", "of": "body", "reask": "Use your own words."},
        {"rule": "length_ratio", "field": "summary", "of": "body", "least": 0.1, "most": 1},
        {"rule": "hedge", "field": "reply"},
        {"rule": "hedge", "field": "label", "phrases": ["no idea"], "unknown": "other"},
        {"rule": "language", "field": "reply", "is": "en"},
        {"rule": "language", "field": "reply", "of": "body"},
        {"rule": "distinct", "field": "reply", "limit": 20},
    ]
    assert parse_checks(json.dumps({"row": row}), prompt="triage").row == (
        Verbatim("evidence", "text"),
        MaxChars("reply", 600),
        Forbidden("reply", ("as an ai",)),
        NotEcho("summary", "body", reask="Use your own words."),
        LengthRatio("summary", "body", least=0.1, most=1),
        Hedge("reply"),
        Hedge("label", phrases=("no idea",), unknown="other"),
        Language("reply", "en"),
        Language("reply", of="body"),
        Distinct("reply", 20),
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
        ('{"row": [{"rule": "max_chars", "field": "a", "limit": 5, "reask": ""}]}', r"row\[0\]\.reask"),
        ('{"row": [{"rule": "length_ratio", "field": "a", "of": "b"}]}', r'row\[0\]: it takes "least", "most" or both'),
        (
            '{"row": [{"rule": "length_ratio", "field": "a", "of": "b", "least": 2, "most": 2}]}',
            r'row\[0\]: "least" is not less',
        ),
        ('{"row": [{"rule": "length_ratio", "field": "a", "of": "b", "least": 0}]}', r"row\[0\]\.least"),
        ('{"row": [{"rule": "hedge", "field": "a", "phrases": []}]}', r"row\[0\]\.phrases"),
        # Blanks would be found in every text.
        ('{"row": [{"rule": "hedge", "field": "a", "phrases": ["x", " "]}]}', r"row\[0\]\.phrases\[1\]"),
        ('{"row": [{"rule": "language", "field": "a"}]}', r'row\[0\]: it takes one of "is" and "of"'),
        ('{"row": [{"rule": "language", "field": "a", "is": "en", "of": "b"}]}', r"row\[0\]: it takes one"),
        ('{"row": [{"rule": "language", "field": "a", "is": "english"}]}', r'row\[0\]: the language "english" is not'),
        ('{"row": [{"rule": "language", "field": "a", "code": "en"}]}', r"row\[0\]\.code"),
        ('{"row": [{"rule": "distinct", "field": "a", "limit": 0}]}', r"row\[0\]\.limit"),
        ('{"row": [{"rule": "function", "field": "a", "name": "b"}]}', r"row\[0\]\.field"),
        ('{"row": [{"rule": "function"}]}', r"row\[0\]\.name: field required"),
        ('{"max_quarantined": 1.5}', "at max_quarantined"),
        ('{"max_quarantined": NaN}', "at max_quarantined"),
        ('{"max_quarantined": "0.1"}', "at max_quarantined"),
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


@pytest.mark.parametrize(
    ("text", "of_others", "of_embedded"),
    [
        ("{}", 0.02, None),
        ('{"max_quarantined": 0.1}', 0.1, 0.1),
        ('{"max_quarantined": 0}', 0, 0),
        ('{"max_quarantined": null}', None, None),
    ],
)
def test_the_share_that_may_be_quarantined_is_that_written_or_depends_on_the_model(text, of_others, of_embedded):
    checks = parse_checks(text, prompt="triage")
    assert checks.max_quarantined_of(is_embedded=False) == of_others
    assert checks.max_quarantined_of(is_embedded=True) == of_embedded


def refuse(checks, *, fields=("label", "quote"), inputs=("body",)):
    refuse_unknown_fields(parse_checks(json.dumps(checks), prompt="sort"), prompt="sort", fields=fields, inputs=inputs)


def expect(**kwargs):
    return {"batch": [{"type": "expect_x", "kwargs": kwargs}]}


@pytest.mark.parametrize(
    ("checks", "place"),
    [
        ({"row": [{"rule": "max_chars", "field": "qoute", "limit": 5}]}, r"'qoute' at row\[0\]\.field"),
        ({"row": [{"rule": "verbatim", "field": "quote", "of": "bdoy"}]}, r"'bdoy' at row\[0\]\.of"),
        ({"row": [{"rule": "length_ratio", "field": "quote", "of": "bdoy", "most": 1}]}, r"'bdoy' at row\[0\]\.of"),
        ({"row": [{"rule": "language", "field": "quote", "of": "bdoy"}]}, r"'bdoy' at row\[0\]\.of"),
        ({"row": [{"rule": "hedge", "field": "lable"}]}, r"'lable' at row\[0\]\.field"),
        ({"row": [{"rule": "distinct", "field": "lable", "limit": 2}]}, r"'lable' at row\[0\]\.field"),
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
        {"row": [{"rule": "language", "field": "quote", "is": "en"}]},
        expect(column="label"),
        expect(column="input.body"),
        expect(column_list=["row_id", "row_number", "quote"]),
        expect(column="label", column_index=3),
        expect(min_value=1),
    ],
)
def test_names_that_the_prompt_has_pass(checks):
    refuse(checks)


def test_a_function_names_no_field_and_passes(tmp_path):
    path, code = tmp_path / "checks.py", "def f(input, output): return None"
    path.write_text(code)
    checks = parse_checks('{"row": [{"rule": "function", "name": "f"}]}', prompt="sort", code=code, path=path)
    refuse_unknown_fields(checks, prompt="sort", fields=(), inputs=())


@pytest.mark.parametrize("name", sorted(p.name for p in PROMPTS.iterdir() if p.is_dir()))
def test_the_committed_prompts_name_what_they_have(name):
    prompt = load_prompt(name, PROMPTS)
    refuse_unknown_fields(
        parse_checks(prompt.checks, prompt=name, code=prompt.code, path=PROMPTS / name / "checks.py"),
        prompt=name,
        fields=json.loads(prompt.schema)["properties"],
        inputs=(*prompt.inputs, *prompt.optional_inputs),
    )
