"""A whole night with secrets and private values in its rows and in what its provider says."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from overnight import checks
from overnight.checks import BatchValidator, parse_checks
from overnight.complete import Engine, complete_batch, resolve_prompt
from overnight.deliver import deliver_release
from overnight.intake import read_batches
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.runs import pin_model, pin_prompt, pin_source
from overnight.parts import read_part
from overnight.prompts import parse_prompt
from overnight.records import Approval, CheckedBatch, CompletedBatch, Prompt, Release
from tests.conftest import House
from tests.fakes.provider import FakeProvider, Scripted

#: Of a known form, and the process's own, of none.
ROW_SECRET = "sk-proj-canary0Row1Secret2In3A4Row5678"  # noqa: S105 - made up
SAID_SECRET = "ghp_canarySaidByTheProvider0123456789ABCDE"  # noqa: S105 - the same
OWN_SECRET = "canary of the process itself"  # noqa: S105 - the same
SECRETS = (ROW_SECRET, SAID_SECRET, OWN_SECRET)

_TEXT = """---
model: openai:gpt-fake
id: id
inputs: [body, email]
private: [email, contact]
---
Sort this: <query>{{ body }}</query> of {{ email }}"""
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote", "contact"],
    "properties": {
        "label": {"enum": ["red", "green", "blue"]},
        "quote": {"type": "string", "maxLength": 200},
        "contact": {"type": "string", "pattern": "@|^$"},
    },
}
#: Each names the private values of the rows that it refuses, or that it warns of.
_RULES: dict[str, list[dict[str, Any]]] = {
    "row": [],
    "batch": [
        {
            "type": "expect_column_values_to_not_match_regex",
            "kwargs": {"column": "contact", "regex": "person3@"},
        },
        {
            "type": "expect_column_values_to_not_match_regex",
            "kwargs": {"column": "quote", "regex": "person[45]@"},
            "severity": "warning",
        },
    ],
}


def name_address(n: int) -> str:
    """The private value of row n."""
    return f"person{n}@canary-private.example"


#: In no text that is shown, logged or kept after a purge.
PRIVATE = "@canary-private.example"


def answer(body: dict[str, Any]) -> dict[str, Any] | Scripted:
    """Repeat what was said and by whom, with keys in all that can hold one."""
    text = str(body["messages"][-1]["content"])
    address = re.search(r"person\d+@[\w.-]+", text)
    assert address is not None
    if "refuse" in text:
        return Scripted(refusal=f"Not for {address[0]}, said {SAID_SECRET}.")
    if "fail" in text:
        said = f"Incorrect API key provided: {SAID_SECRET} or {OWN_SECRET}, by {address[0]}"
        return Scripted(status=400, body={"error": {"message": said}}, headers={"x-request-id": OWN_SECRET})
    given = {"label": "red", "quote": f"as {address[0]} wrote, with {SAID_SECRET}", "contact": address[0]}
    reasoning = f"{address[0]} has {OWN_SECRET}"
    return Scripted(text=orjson.dumps(given).decode(), reasoning=reasoning, headers={"x-request-id": SAID_SECRET})


@dataclass(frozen=True)
class PrivateNight:
    """What the night left, and what people saw of it."""

    house: House
    prompt: Prompt
    run_id: str
    checked: CheckedBatch
    release: Release


def write_source(path: Path, n_rows: int, *, first: int = 1) -> None:
    """Rows with an address each, one with a key, one that is refused and one that fails."""
    said = {2: f"my key is {ROW_SECRET}", 6: "refuse this", 7: "fail this"}
    rows = [
        f'r{n},"{said.get(n, f"text {n} of the door that is open")}",{name_address(n)}'
        for n in range(first, first + n_rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["id,body,email", *rows]) + "\n")


def make_prompt(endpoint: str) -> Prompt:
    """A prompt that declares an input and a field of its output private."""
    schema, rules = orjson.dumps(_SCHEMA).decode(), orjson.dumps(_RULES).decode()
    return resolve_prompt(parse_prompt("sort", text=_TEXT, schema=schema, checks=rules), None, endpoint=endpoint)


def spend_night(
    house: House, fake: FakeProvider, validator: BatchValidator, *, run_id: str = "night-1", n_rows: int = 12
) -> PrivateNight:
    """A run up to its open review."""
    fake.answer = answer
    prompt = make_prompt(fake.openai_base_url)
    house.begin(run_id)
    source = house.home.parent / f"source-of-{run_id}.csv"
    write_source(source, n_rows)
    [batch] = read_batches(str(source), id_column="id", inputs=prompt.inputs, optional_inputs=(), place=house.home)
    write = house.ledger.write
    write(lambda c: (record_prompt(c, prompt, 1.0), pin_source(c, run_id, str(source)), pin_prompt(c, run_id, prompt)))
    write(lambda c: (pin_model(c, run_id, prompt), record_batches(c, run_id, [batch])))
    with closing(Engine(house.settings, house.ledger)) as engine:
        completed: CompletedBatch = complete_batch(batch, prompt, run_id=run_id, engine=engine)
    rules = replace(parse_checks(prompt.checks, prompt="sort"), private=prompt.private)
    checked = checks.check_batch(
        completed,
        read_part(completed.part, house.home),
        rules,
        prompt.checks_hash,
        validator,
        suite_name="sort",
        docs_dir=house.home / "docs" / "sort",
        place=house.home,
        home=house.home,
    )
    write(lambda c: (record_batches(c, run_id, [completed]), record_part(c, f"check-{run_id}", checked, 1.0)))
    release = house.offer_checked([checked], prompt, run_id=run_id)
    return PrivateNight(house, prompt, run_id, checked, release)


def publish(night: PrivateNight, **verdicts: Any) -> Approval:
    """Have the night's rows reviewed and delivered."""
    approval = night.house.approve(night.release, **verdicts)
    deliver_release(approval, ledger=night.house.ledger, settings=night.house.settings)
    return approval


__all__ = ["PRIVATE", "SECRETS", "PrivateNight", "publish", "spend_night"]
