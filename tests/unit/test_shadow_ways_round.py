"""The ways from a shadow run's answers to a sink, and what stands in each: from the outermost layer to the last."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.complete import Engine
from overnight.complete.shadow import ask_sample, draw_sample
from overnight.deliver import deliver_release
from overnight.failures import ApprovalRefused
from overnight.ledger.manifests import find_batches, record_batches, record_part
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.ledger.shadows import name_shadow, open_shadow
from overnight.records import Approval, CheckedBatch, CompletedBatch, ModelTerms, Prompt, Release
from tests.conftest import DATABASES, RUN, House
from tests.fakes.provider import FakeProvider

SHADOW = name_shadow(RUN)


@pytest.fixture
def shadow(house: House, fake: FakeProvider) -> tuple[CompletedBatch, Prompt]:
    """What a run's shadow has answered, as the step leaves it: completed, and recorded so."""
    house.begin()
    prompt = house.make_prompt(text="Anew: {{ body }}", endpoint=fake.openai_base_url)
    sample = draw_sample([house.read_batch(["one", "two"])], 9, house.home)
    house.ledger.write(lambda c: open_shadow(c, RUN, flow="sort", prompt=prompt, sample=sample, parameters={}, now=1.0))
    settings = replace(house.settings, terms=(ModelTerms("openai:gpt-fake", 1.0, 1.0),))
    with closing(Engine(settings, house.ledger)) as engine:
        completed, _ = ask_sample(sample, prompt, run_id=SHADOW, budget_usd=1.0, time_s=60.0, engine=engine)
    house.ledger.write(lambda c: record_batches(c, SHADOW, [completed]))
    return completed, prompt


def _make_checked(completed: CompletedBatch, prompt: Prompt) -> CheckedBatch:
    """By hand, as somebody does who means to have it offered."""
    return CheckedBatch(1, completed.part, prompt.prompt_hash, prompt.checks_hash, completed.n_accepted, 0, 0)


def _offer(house: House, batch: Any, prompt: Prompt, run_id: str) -> Release:
    return house.offer_checked([batch], prompt, run_id=run_id)


def _refused(call: Callable[[], object], house: House) -> str:
    with pytest.raises(ApprovalRefused) as caught:
        call()
    assert house.fetch("SELECT * FROM releases") == house.fetch("SELECT * FROM outbox") == []
    assert not house.out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The step: what it returns is nothing, and what it records is at no stage that is offered.


@pytest.mark.parametrize("database", DATABASES)
def test_the_step_records_no_checked_batch(house: House, shadow: tuple[CompletedBatch, Prompt]) -> None:
    with house.ledger.reading() as connection:
        assert find_batches(connection, SHADOW, CheckedBatch) == []
        assert find_batches(connection, SHADOW, CompletedBatch) == [shadow[0]]
    assert house.fetch("SELECT * FROM parts") == []


# The check step: it alone records what may be offered, and it was never given these rows.


@pytest.mark.parametrize("run_id", [RUN, SHADOW])
def test_the_check_step_s_record_is_missing_of_a_batch_made_by_hand(
    house: House, shadow: tuple[CompletedBatch, Prompt], run_id: str
) -> None:
    completed, prompt = shadow
    batch = _make_checked(completed, prompt)
    assert "was not made by the check step" in _refused(lambda: _offer(house, batch, prompt, run_id), house)


# The offer: of rows that somebody did have checked, it sees that they are a shadow's, whatever run they are put under.


@pytest.mark.parametrize("run_id", [RUN, SHADOW])
def test_the_offer_refuses_what_only_a_shadow_asked(
    house: House, shadow: tuple[CompletedBatch, Prompt], run_id: str
) -> None:
    completed, prompt = shadow
    batch = _make_checked(completed, prompt)
    house.ledger.write(lambda c: record_part(c, "check-by-hand", batch, 1.0))
    said = _refused(lambda: _offer(house, batch, prompt, run_id), house)
    assert f"Batch 1 is of the shadow run {SHADOW}, which is compared and never offered." in said


def test_the_offer_takes_the_prompt_from_a_run_that_asked_it_as_its_own(
    house: House, shadow: tuple[CompletedBatch, Prompt]
) -> None:
    completed, prompt = shadow
    night = house.begin("night-2")
    house.ledger.write(lambda c: (pin_prompt(c, night, prompt), pin_model(c, night, prompt)))
    batch = _make_checked(completed, prompt)
    house.ledger.write(lambda c: record_part(c, "check", batch, 1.0))
    assert _offer(house, batch, prompt, night).n_rows == 2


# The publisher: without a release there is no approval, and one made by hand is not in the ledger.


def test_the_publisher_knows_no_approval_of_a_shadow(house: House, shadow: tuple[CompletedBatch, Prompt]) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    digest = shadow[0].part.digest
    approval = Approval("f" * 32, SHADOW, f"{SHADOW}-0", digest, digest, house.sink, 2, 0, "Me", "approved", tomorrow)
    said = _refused(lambda: deliver_release(approval, ledger=house.ledger, settings=house.settings), house)
    assert "is not in the ledger" in said
    assert find_standing(house.ledger, SHADOW, house.sink, now=time.time()) is None
