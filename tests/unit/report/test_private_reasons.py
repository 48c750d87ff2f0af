"""Why rows were set aside is told, and recorded, without a private value of the answer that was refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from overnight.complete import Engine, complete_batch, resolve_prompt
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.prompts import parse_prompt
from overnight.records import Prompt
from overnight.report.brief.reading import find_rows
from overnight.report.measure import hide_reason, measure, render_markdown
from overnight.report.quarantine import find_quarantine, render_quarantine
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider, Scripted

PRIVATE = "Alice Secretperson 555"
ADDRESS = "alice@secretperson.example"
_TEXT = "---\nmodel: openai:gpt-fake\nid: id\ninputs: [body]\nprivate: [{}]\n---\nSort this: {{{{ body }}}}"
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "contact"],
    "properties": {
        "label": {"enum": ["red", "green"]},
        "contact": {"type": "string", "pattern": "@|^$"},
    },
}
_CODE = "def is_known(given, output):\n    return f\"{output['contact']} is of no customer\"\n"
_NAMED: list[dict[str, Any]] = [{"rule": "function", "name": "is_known"}]

_NO_CHECKS = '{"row": [], "batch": []}'

#: Has these rows asked by a prompt with these row checks.
Spend = Callable[..., None]


@pytest.fixture
def spend(house: House, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Spend:
    folder = house.home / "prompts" / "sort"
    folder.mkdir(parents=True)
    (folder / "checks.py").write_text(_CODE)
    monkeypatch.chdir(house.home)
    batch = house.read_batch(["text 1 here", "text 2 here"])

    def spend(
        answer: dict[str, Any], run_id: str = RUN, rules: list[dict[str, Any]] | None = None, private: str = "contact"
    ) -> None:
        fake.answer = lambda _: Scripted(text=orjson.dumps(answer).decode())
        checks = orjson.dumps({"row": rules or [], "batch": []}).decode()
        parsed = parse_prompt(
            "sort",
            text=_TEXT.format(private),
            schema=orjson.dumps(_SCHEMA).decode(),
            checks=checks,
            code=_CODE if rules else "",
        )
        prompt: Prompt = resolve_prompt(parsed, None, endpoint=fake.openai_base_url)
        house.begin(run_id)
        write = house.ledger.write
        write(lambda c: (record_prompt(c, prompt, 1.0), pin_prompt(c, run_id, prompt)))
        write(lambda c: (pin_model(c, run_id, prompt), record_batches(c, run_id, [batch])))
        with closing(Engine(house.settings, house.ledger)) as engine:
            completed = complete_batch(batch, prompt, run_id=run_id, engine=engine)
        write(lambda c: record_batches(c, run_id, [completed]))

    return spend


def read_told(house: House, run_id: str = RUN) -> dict[str, str]:
    """All that is said of why rows of a run were set aside."""
    return {
        "quarantine": render_quarantine(find_quarantine(run_id, ledger=house.ledger, place=house.home), by_row=True),
        "report": render_markdown(measure(run_id, ledger=house.ledger, place=house.home, now=3.0)),
        "brief": repr(find_rows(run_id, ledger=house.ledger, place=house.home)),
        "attempts": repr(house.fetch("SELECT message FROM attempts")),
        "refusals": repr(house.fetch("SELECT reason FROM quarantines")),
    }


def test_what_does_not_fit_the_schema_is_told_in_words_of_the_schema(house: House, spend: Spend) -> None:
    spend({"label": "red", "contact": PRIVATE})
    told = read_told(house)
    assert [where for where, text in told.items() if "Secretperson" in text] == []
    assert '/contact: your value does not match "@|^$"' in told["quarantine"]


def test_names_that_the_model_made_up_are_not_told_either(house: House, spend: Spend) -> None:
    spend({"label": "red", "contact": "", PRIVATE: 1})
    told = read_told(house)
    assert [where for where, text in told.items() if "Secretperson" in text] == []
    assert "/: it has properties that the schema does not know" in told["quarantine"]


def test_a_check_that_quotes_the_answer_is_told_without_it(house: House, spend: Spend) -> None:
    spend({"label": "red", "contact": ADDRESS}, rules=_NAMED)
    told = read_told(house)
    assert [where for where, text in told.items() if "secretperson" in text] == []
    assert "[private: contact of the answer] is of no customer" in told["quarantine"]


def test_a_recorded_answer_that_a_new_check_refuses_is_told_without_it(house: House, spend: Spend) -> None:
    spend({"label": "red", "contact": ADDRESS})
    spend({}, "night-2", rules=_NAMED)
    told = read_told(house, "night-2")
    assert [where for where, text in told.items() if "secretperson" in text] == []
    rows = find_quarantine("night-2", ledger=house.ledger, place=house.home, show_private=True).rows
    assert {row.reason for row in rows} == {"[private: contact of the answer] is of no customer"}


def test_a_reason_that_stands_whole_in_a_part_is_hidden_by_the_answer_that_the_ledger_has(house: House) -> None:
    row = {"input": '{"body": "text"}', "output": None, "reason": f"{ADDRESS} is of no customer"}
    assert hide_reason(row, ["contact"], {"contact": ADDRESS}) == "[private: contact of the answer] is of no customer"


def test_a_reason_that_was_recorded_whole_is_hidden_in_all_that_people_see(house: House, spend: Spend) -> None:
    spend({"label": "red", "contact": ADDRESS}, rules=_NAMED, private="")
    house.tamper("UPDATE run_prompts SET text = replace(text, 'private: []', 'private: [contact]')")
    told = read_told(house)
    assert [where for where, text in told.items() if "secretperson" in text] == ["attempts", "refusals"]


def test_what_an_earlier_prompt_of_the_run_declares_holds_for_what_is_recorded_later(
    house: House, fake: FakeProvider
) -> None:
    fake.answer = lambda _: Scripted(text=orjson.dumps({"label": "red", "contact": PRIVATE}).decode())
    first, later = (
        resolve_prompt(
            parse_prompt(name, text=_TEXT.format(private), schema=orjson.dumps(_SCHEMA).decode(), checks=_NO_CHECKS),
            None,
            endpoint=fake.openai_base_url,
        )
        for name, private in (("first", "contact"), ("later", ""))
    )
    house.begin()
    for step, prompt in ((1, first), (2, later)):
        house.ledger.write(lambda c, p=prompt: (record_prompt(c, p, 1.0), pin_prompt(c, RUN, p)))  # type: ignore[misc]
        house.tamper(f"UPDATE run_prompts SET step = {step} WHERE name = '{prompt.name}'")  # noqa: S608 - ours
    with closing(Engine(house.settings, house.ledger)) as engine:
        complete_batch(replace(house.read_batch(["some text"]), step=2), later, run_id=RUN, engine=engine)
    assert "Secretperson" not in repr(house.fetch("SELECT message FROM attempts"))
