"""A whole night: rows that were accepted, refused, left pending and set aside; reviewed and delivered."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from overnight import checks
from overnight.checks import BatchValidator, parse_checks
from overnight.complete import Engine, complete_batch
from overnight.deliver import deliver_release
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.releases import find_release
from overnight.parts import read_part
from overnight.records import CheckedBatch, Prompt
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider, Scripted, answer_by_schema

#: r1 and r2 are accepted, r3 is set aside at intake, r4 is refused by its model, r5 stays pending.
TEXTS = ["a red car", "a blue car", "", "refuse this", "busy"]


def answer_by_text(body: dict[str, Any]) -> Scripted | dict[str, Any]:
    text = str(body["messages"][-1]["content"])
    if "refuse" in text:
        return Scripted(refusal="I [may](http://evil.example) not.")
    return Scripted(status=503) if "busy" in text else answer_by_schema(body)


def _check(house: House, engine: Engine, prompt: Prompt) -> CheckedBatch:
    batch = house.read_batch(TEXTS)
    completed = complete_batch(batch, prompt, run_id=RUN, engine=engine)
    checked = checks.check_batch(
        completed,
        read_part(completed.part, house.home),
        parse_checks(prompt.checks, prompt=prompt.name),
        prompt.checks_hash,
        BatchValidator(),
        suite_name="sort",
        docs_dir=house.home / "docs",
        place=house.home,
        home=house.home,
    )
    house.ledger.write(lambda c: record_part(c, "check", checked, 1.0))
    for manifest in (batch, completed, checked):
        house.ledger.write(lambda c, m=manifest: record_batches(c, RUN, [m]))  # type: ignore[misc]
    return checked


@pytest.fixture
def checked_night(house: House, fake: FakeProvider) -> House:
    """The run is checked; nobody has read it yet."""
    fake.answer = answer_by_text
    house.begin()
    prompt = house.make_prompt(endpoint=fake.openai_base_url)
    with closing(Engine(house.settings, house.ledger)) as engine:
        checked = _check(house, engine, prompt)
    house.offer_checked([checked], prompt)
    return house


@pytest.fixture
def night(checked_night: House) -> House:
    """Row r1 was found correct and delivered, r2 wrong and held."""
    house = checked_night
    with house.ledger.reading() as connection:
        release = find_release(connection, RUN)
    assert release is not None
    approval = house.approve(release, r2="wrong")
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    return house
