from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from overnight.failures import CallFailed, PromptRefused
from overnight.llm import make_validator, parse_answer
from overnight.records import Reply
from overnight.taxonomy import FailureClass

SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"enum": ["card", "loan"]},
        "n": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["category", "n"],
    "additionalProperties": False,
}
STRICT = make_validator(json.dumps(SCHEMA))
ANYTHING = make_validator("{}")
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5), inner)
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON_VALUES, min_size=1)


def parse(text: str | None, validator=ANYTHING, stop_reason: str | None = "stop", refusal: str | None = None):
    return parse_answer(Reply(200, b"", text=text, stop_reason=stop_reason, refusal=refusal), validator)


def fail(*args, **kwargs) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        parse(*args, **kwargs)
    assert caught.value.reply is not None
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("stop_reason", ["stop", "end_turn", "stop_sequence"])
def test_a_finished_answer_that_fits_is_returned(stop_reason):
    text = ' {"category": "card", "n": 3, "tags": ["é"]}\n'
    assert parse(text, STRICT, stop_reason) == {"category": "card", "n": 3, "tags": ["é"]}


@pytest.mark.parametrize(
    ("stop_reason", "failure_class"),
    [
        ("refusal", FailureClass.REFUSAL),
        ("content_filter", FailureClass.CONTENT_FILTER),
        ("length", FailureClass.TRUNCATED),
        ("max_tokens", FailureClass.TRUNCATED),
        ("model_context_window_exceeded", FailureClass.TRUNCATED),
        ("tool_calls", FailureClass.UNKNOWN_STOP),
        ("pause_turn", FailureClass.UNKNOWN_STOP),
        ("brand_new", FailureClass.UNKNOWN_STOP),
        ("", FailureClass.UNKNOWN_STOP),
        (None, FailureClass.UNKNOWN_STOP),
    ],
)
def test_the_stop_reason_comes_before_a_text_that_would_fit(stop_reason, failure_class):
    assert fail('{"category": "card", "n": 3}', STRICT, stop_reason).failure_class is failure_class


def test_a_refusal_beside_a_normal_stop_is_a_refusal_with_its_words():
    failed = fail(None, refusal="cyber: I cannot\nhelp")
    assert failed.failure_class is FailureClass.REFUSAL
    assert "cyber: I cannot help" in str(failed)


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_no_text_is_empty(text):
    assert fail(text).failure_class is FailureClass.EMPTY


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"a": 1}\n```',
        'Here you are: {"a": 1}',
        '{"a": 1} Anything else?',
        '{"a": 1}{"a": 1}',
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": 1',
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 1}}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": 18446744073709551616}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": "\\u0000"}',
        '{"a": [{"b\\u0000": 1}]}',
        '{"a": "line\nbreak"}',
        '\ufeff{"a": 1}',
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a": ' + "[" * 400 + "]" * 400 + "}",
        "[1]",
        '"text"',
        "3",
        "null",
    ],
)
def test_what_is_not_one_strict_json_object_is_malformed(text):
    assert fail(text).failure_class is FailureClass.MALFORMED


def test_a_backslash_before_u0000_is_no_nul():
    assert parse('{"a": "\\\\u0000"}') == {"a": "\\u0000"}


@given(OBJECTS)
def test_every_json_object_passes_as_it_is(value):
    assert parse(json.dumps(value)) == value
    assert parse(json.dumps(value, ensure_ascii=False)) == value


@given(OBJECTS, st.data())
def test_no_cut_of_an_object_passes(value, data):
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert fail(cut).failure_class in {FailureClass.MALFORMED, FailureClass.EMPTY}


@given(OBJECTS, st.text(min_size=1).filter(lambda t: t.strip(" \t\r\n")))
def test_nothing_may_stand_before_or_after_the_object(value, other):
    assert fail(json.dumps(value) + other).failure_class is FailureClass.MALFORMED
    assert fail(other + json.dumps(value)).failure_class is FailureClass.MALFORMED


@given(st.text(alphabet=' {}[]":,x1\\\n', max_size=5) | st.text(max_size=50))
@example(" {\n} ")
@example("{\u00a0}")
def test_no_other_text_passes(text):
    # White space inside and around is JSON's own: an empty object fits a schema that asks for nothing.
    if re.fullmatch(r"[ \t\r\n]*\{[ \t\r\n]*\}[ \t\r\n]*", text):
        assert parse(text) == {}
    else:
        assert fail(text).failure_class in {FailureClass.MALFORMED, FailureClass.EMPTY}


def test_schema_errors_are_named_with_their_paths():
    failed = fail('{"category": "pet", "n": 9, "tags": ["a", 1]}', STRICT)
    assert failed.failure_class is FailureClass.SCHEMA_INVALID
    message = str(failed)
    assert '/category: "pet"' in message
    assert "/n: 9 is greater" in message
    assert "/tags/1: 1" in message


def test_a_missing_and_an_unknown_field_are_schema_errors():
    message = str(fail('{"category": "card", "extra": 1}', STRICT))
    assert '"n" is a required property' in message
    assert "'extra' was unexpected" in message


def test_at_most_five_errors_of_a_bounded_length_are_named():
    text = json.dumps({"category": "card", "n": 1, "tags": [[["x" * 1000]]] * 50})
    message = str(fail(text, STRICT))
    assert message.count("/tags/") == 5
    assert len(message) < 1300


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "{",
        "[]",
        "true",
        '{"type": "nope"}',
        '{"pattern": "("}',
        '{"$ref": "#/nowhere"}',
        '{"$ref": "http://127.0.0.1:1/schema.json"}',
        '{"$ref": "file:///etc/hostname"}',
    ],
)
def test_an_invalid_schema_is_the_prompts_fault(schema):
    with pytest.raises(PromptRefused, match=r"output\.schema\.json") as caught:
        make_validator(schema)
    assert "\n" not in str(caught.value)


def test_formats_are_checked():
    validator = make_validator('{"properties": {"d": {"type": "string", "format": "date"}}}')
    assert fail('{"d": "2026-02-30"}', validator).failure_class is FailureClass.SCHEMA_INVALID
