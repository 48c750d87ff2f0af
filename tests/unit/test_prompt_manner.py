"""How a prompt is asked stands in its front matter and in no key: an answer is a hit however it came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.failures import PromptRefused
from overnight.keys import leave_out_manner, prompt_hash
from overnight.prompts import parse_prompt
from overnight.records import Prompt

SCHEMA = json.dumps(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["label"],
        "properties": {"label": {"type": "string"}},
    }
)
TEMPLATE = "mode: batch\nby: noon\n---\n{{ body }}\n"
#: Fields of a front matter, some of several lines, some that look like what is left out.
FIELDS = [
    "model: local:tiny\n",
    "inputs:\n  - body\n",
    "# mode: online was too dear\n",
    "\n",
    "parameters:\n  mode: online\n  by: hand\n",
    'private: ["body"]\n',
    "id: 'mode: batch'\n",
    "repair: {max_tokens: 9}\n",
]
MODES = [
    "mode: batch\n",
    'mode: "batch"\n',
    "mode : batch\n",
    "mode:   batch   # half the price\n",
    "'mode': batch\n",
    "mode: &a batch\n",
]
TIMES = ['by: "06:00"\n', "by: '22:30'  # the market opens\n", "by: 06:00\n"]
WANTED = st.permutations(FIELDS)


def _hash(text: str) -> str:
    return prompt_hash(text=text, schema=SCHEMA, model="local:tiny", endpoint="e", parameters={})


def _text(fields: list[str]) -> str:
    return f"---\n{''.join(fields)}---\n{TEMPLATE}"


def _parse(fields: list[str]) -> Prompt:
    return parse_prompt("sort", text=_text(fields), schema=SCHEMA, checks='{"row": [], "batch": []}')


def _put(fields: list[str], line: str, place: int) -> list[str]:
    return [*fields[:place], line, *fields[place:]]


@given(WANTED, st.sampled_from([m for m in MODES if "'" not in m]), st.none() | st.sampled_from(TIMES), st.data())
def test_how_and_by_when_are_read_anywhere_and_never_change_the_hash(
    fields: list[str], mode: str, by: str | None, data: st.DataObject
) -> None:
    places = st.integers(0, len(fields))
    said = _put(fields, mode, data.draw(places))
    if by:
        said = _put(said, by, data.draw(places))
    prompt, plain = _parse(said), _parse(fields)
    assert (prompt.mode, prompt.by) == ("batch", None if by is None else ("22:30" if "22" in by else "06:00"))
    assert (plain.mode, plain.by) == ("online", None)
    assert _hash(prompt.text) == _hash(plain.text)
    assert leave_out_manner(prompt.text) == plain.text


@given(WANTED, st.sampled_from(MODES), st.data())
def test_every_other_change_of_a_text_changes_the_hash(fields: list[str], mode: str, data: st.DataObject) -> None:
    said = _put(fields, mode, data.draw(st.integers(0, len(fields))))
    text, left = _text(said), leave_out_manner(_text(said))
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.sampled_from("x #:\n")) + text[at:]
    # A letter more is none of the prompt's where it stands in the line that is left out.
    assert (_hash(changed) == _hash(text)) is (leave_out_manner(changed) == left)
    start = len("---\n") + len("".join(said[: said.index(mode)]))
    if not start <= at <= start + len(mode):
        assert _hash(changed) != _hash(text)


@given(st.text())
def test_a_text_that_says_nothing_of_it_is_hashed_as_it_is(text: str) -> None:
    assert leave_out_manner(text) == text
    assert leave_out_manner(f"---\nmodel: x\n---\n{text}") == f"---\nmodel: x\n---\n{text}"


@pytest.mark.parametrize(
    "front",
    [
        'id: "a\nmode: batch\nb"\n',
        "parameters: {a: 1,\nmode: batch\n}\n",
        "id: [\nmode: batch\n",
        "{model: x,\nmode: batch\n}\n",
    ],
)
def test_what_only_looks_like_such_a_line_stays(front: str) -> None:
    text = f"---\n{front}---\n"
    assert leave_out_manner(text) == text


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("mode: later\n", "mode: Input should be 'online' or 'batch'"),
        ("mode: true\n", "mode: "),
        ("mode:\n", "mode: "),
        ("mode: batch\nby: 22:30\n", 'put it in quotes, by: "22:30"'),
        ("mode: batch\nby: 6am\n", "'6am' is no time of a day"),
        ('mode: batch\nby: "24:00"\n', "'24:00' is no time of a day"),
        (
            "mode: batch\nby: 24:00\n",
            "it is the number 1440 to YAML, as 24:00 without quotes is: write HH:MM in quotes",
        ),
        (
            "mode: batch\nby: 22:30:00\n",
            'it is the number 81000 to YAML: write HH:MM in quotes, at the latest by: "23:59"',
        ),
        ("mode: batch\nby: true\n", "True is no time of a day"),
        ("mode: batch\nby: 6.5\n", "6.5 is no time of a day"),
        ('by: "06:00"\n', 'by is "06:00" and mode is not batch'),
        ('mode: online\nby: "06:00"\n', 'by is "06:00" and mode is not batch'),
        ("mode:\n  batch\n", "mode does not stand on a line of its own"),
        ("'mode': batch\n", "mode does not stand on a line of its own"),
        ('mode: batch\nby:\n  "06:00"\n', "by does not stand on a line of its own"),
    ],
)
def test_what_cannot_be_read_is_refused_on_one_line(lines: str, why: str) -> None:
    with pytest.raises(PromptRefused) as caught:
        _parse([*FIELDS, lines])
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "is_same"), [({"mode": "batch"}, True), ({"id": "body"}, False)])
def test_a_front_matter_in_braces_cannot_say_it(change: dict[str, Any], is_same: bool) -> None:
    front = json.dumps({"model": "local:tiny", "inputs": ["body"]} | change)
    if is_same:
        with pytest.raises(PromptRefused, match="does not stand on a line of its own"):
            _parse([front + "\n"])
    else:
        assert _parse([front + "\n"]).id_column == "body"
