from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from overnight.failures import InputRefused
from overnight.intake import chain_rows
from overnight.keys import canonical_json
from overnight.parts import read_part, write_part
from overnight.records import CheckedBatch, Prompt
from tests.conftest import House


@pytest.fixture
def prompt(house: House) -> Prompt:
    return house.make_prompt()


def _check(house: House, prompt: Prompt, *rows: tuple[str, str, str], n: int = 1) -> CheckedBatch:
    """A checked batch of rows (state, label, quote)."""
    part = write_part(
        [
            {
                "row_id": f"r{n}{i}",
                "row_number": 10 * n + i,
                "input": canonical_json({"body": f"text {i}"}).decode(),
                "state": state,
                "output": canonical_json({"label": label, "quote": quote}).decode() if state == "accepted" else None,
            }
            for i, (state, label, quote) in enumerate(rows, 1)
        ],
        house.home,
    )
    return CheckedBatch(n, part, prompt.prompt_hash, prompt.checks_hash, len(rows), 0, 0)


def _chain(house: House, checked: list[CheckedBatch], prompt: Prompt, where: Any = None, **changes: Any) -> list[Any]:
    following = replace(prompt, name="reply", **({"inputs": ("body", "label"), "id_column": None} | changes))
    batches = list(chain_rows(checked, answered=prompt, prompt=following, where=where, place=house.home))
    assert all(batch.step == 2 for batch in batches)
    return [row for batch in batches for row in read_part(batch.part, house.home).to_pylist()]


def test_accepted_rows_go_on_under_their_own_ids_with_what_the_prompt_reads(house: House, prompt: Prompt) -> None:
    one = _check(house, prompt, ("accepted", "red", "a"), ("quarantined", "", ""), ("pending", "", ""))
    other = _check(house, prompt, ("accepted", "blue", "b"), n=2)
    rows = _chain(house, [one, other], prompt)
    assert [(r["row_id"], r["row_number"], r["input"], r["state"]) for r in rows] == [
        ("r11", 11, '{"body":"text 1","label":"red"}', "pending"),
        ("r21", 21, '{"body":"text 1","label":"blue"}', "pending"),
    ]


def test_only_rows_whose_fields_have_one_of_the_values_go_on(house: House, prompt: Prompt) -> None:
    checked = _check(house, prompt, *[("accepted", label, "a") for label in ("red", "green", "blue")])
    rows = _chain(house, [checked], prompt, {"label": ["red", "blue"], "quote": ["a"]})
    assert [r["row_id"] for r in rows] == ["r11", "r13"]
    assert _chain(house, [checked], prompt, {"label": ["mauve"]}) == []


def test_a_row_without_a_value_that_the_prompt_needs_is_set_aside_by_name(house: House, prompt: Prompt) -> None:
    [row] = _chain(house, [_check(house, prompt, ("accepted", "red", ""))], prompt, inputs=("body", "quote"))
    assert (row["state"], row["failure_class"], row["row_id"]) == ("quarantined", "missing_value", "r11")


@pytest.mark.parametrize(
    ("where", "inputs", "said"),
    [
        (None, ("body", "colour"), "is to read 'colour', which prompt sort neither reads nor answers"),
        ({"urgency": ["high"]}, ("body",), "is to read 'urgency'"),
    ],
)
def test_a_column_that_is_not_there_is_refused_by_name(
    house: House, prompt: Prompt, where: Any, inputs: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputRefused, match=said):
        _chain(house, [_check(house, prompt, ("accepted", "red", "a"))], prompt, where, inputs=inputs)


def test_a_column_that_is_both_read_and_answered_is_refused(house: House, prompt: Prompt) -> None:
    both = replace(prompt, inputs=("body", "label"))
    with pytest.raises(InputRefused, match="both reads and answers 'label'"):
        _chain(house, [_check(house, prompt, ("accepted", "red", "a"))], both)
