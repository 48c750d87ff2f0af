from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight import keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.lists(st.text() | st.binary(), max_size=4)
ASKED: dict[str, Any] = {
    "text": "Sort: {{ body }}",
    "schema": "{}",
    "model": "openai:gpt-fake",
    "endpoint": "https://api.openai.com/v1",
    "parameters": {"max_tokens": 50, "temperature": 0},
}


def _as_bytes(parts: list[str | bytes]) -> list[bytes]:
    return [p.encode() if isinstance(p, str) else p for p in parts]


@given(st.dictionaries(st.text(), JSON))
def test_a_key_ignores_the_order_of_fields(row: dict[str, Any]) -> None:
    turned = dict(reversed(row.items()))
    assert keys.canonical_json(row) == keys.canonical_json(turned)
    assert keys.request_key(keys.canonical_json(row), "p") == keys.request_key(keys.canonical_json(turned), "p")


@given(PARTS, PARTS)
def test_no_two_lists_of_parts_share_a_digest(one: list[str | bytes], other: list[str | bytes]) -> None:
    same = _as_bytes(one) == _as_bytes(other)
    assert (keys.digest_parts("d", one) == keys.digest_parts("d", other)) is same


@given(PARTS, PARTS)
def test_a_part_moved_over_its_border_gives_another_digest(one: list[str | bytes], other: list[str | bytes]) -> None:
    cut = _as_bytes([*one, *other])
    glued = [b"".join(cut)]
    assert cut == glued or keys.digest_parts("d", cut) != keys.digest_parts("d", glued)


def test_the_same_parts_in_another_domain_give_another_digest() -> None:
    assert keys.digest_parts("batch", ["a"]) != keys.digest_parts("allowed", ["a"])


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Sort: {{ body }}!"},
        {"schema": '{"type": "object"}'},
        {"model": "openai:gpt-other"},
        {"endpoint": "http://127.0.0.1:1/v1"},
        {"parameters": {"max_tokens": 51, "temperature": 0}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_an_answer_changes_the_prompt_hash(change: dict[str, Any]) -> None:
    assert keys.prompt_hash(**ASKED) != keys.prompt_hash(**{**ASKED, **change})


def test_the_order_of_parameters_does_not_change_the_prompt_hash() -> None:
    turned = {**ASKED, "parameters": {"temperature": 0, "max_tokens": 50}}
    assert keys.prompt_hash(**ASKED) == keys.prompt_hash(**turned)


def test_checks_without_code_keep_the_hash_that_they_had() -> None:
    assert keys.checks_hash("{}") == keys.checks_hash("{}", "") == keys.digest_parts("checks", ["{}"])


def test_checks_and_their_code_each_change_the_hash() -> None:
    assert len({keys.checks_hash(checks, code) for checks in ("a", "ab") for code in ("", "b", "c")}) == 6


def test_a_row_or_its_prompt_changes_the_request_key() -> None:
    assert len({keys.request_key(row, prompt) for row in ("{}", '{"a":1}') for prompt in ("p", "q")}) == 4


def test_sink_row_and_bytes_each_change_the_delivery_key() -> None:
    known = {keys.delivery_key(s, r, d) for s in ("file:a", "file:b") for r in ("1", "2") for d in ("x", "y")}
    assert len(known) == 8


def test_a_batch_digest_tells_an_id_from_a_text_and_one_order_from_another() -> None:
    assert keys.batch_digest([("ab", "c")]) != keys.batch_digest([("a", "bc")])
    assert keys.batch_digest([("1", "a"), ("2", "b")]) != keys.batch_digest([("2", "b"), ("1", "a")])


def test_decimals_and_tuples_have_a_json_form_and_other_objects_have_none() -> None:
    assert keys.canonical_json({"a": Decimal("1.10"), "b": (1, 2)}) == b'{"a":"1.10","b":[1,2]}'
    with pytest.raises(TypeError):
        keys.canonical_json({"a": object()})
