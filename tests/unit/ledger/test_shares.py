"""Who counts where a limit is divided: live processes with a request in hand."""

from __future__ import annotations

import subprocess

import pytest
import sqlalchemy as sa

from overnight.keys import request_key
from overnight.ledger import Ledger
from overnight.ledger.attempts import Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.leases import Worker, register, release
from overnight.ledger.schema import leases
from overnight.ledger.shares import find_asking
from tests.conftest import DATABASES, RUN, House


@pytest.fixture
def mine(house: House) -> Worker:
    house.begin()
    return _register(house.ledger)


def _register(ledger: Ledger) -> Worker:
    worker = ledger.write(lambda c: register(c, 60.0))
    worker.judges_from = 0.0
    return worker


def _ask(house: House, worker: Worker, text: str, *, model: str = "openai:gpt-fake", other: str | None = None) -> None:
    """Open an attempt of a prompt that asks a model, or for once another one."""
    prompt = house.make_prompt(model=model)
    key = request_key(text, prompt.prompt_hash)
    opening = Opening(key, prompt.prompt_hash, text, make_body(text.encode()), RUN, 1.0, model=other)
    [opened] = house.ledger.write(lambda c: open_attempts(c, worker, [opening]))
    assert isinstance(opened, int)


def _find(house: House, worker: Worker) -> dict[int, set[str]]:
    found = house.ledger.read(lambda c: find_asking(c, worker))
    return {worker_id: set(models) for worker_id, models in found.items()}


@pytest.mark.parametrize("database", DATABASES)
def test_those_with_requests_in_hand_count_with_the_models_that_they_ask(
    house: House, mine: Worker, database: str
) -> None:
    theirs, idle = _register(house.ledger), _register(house.ledger)
    _ask(house, mine, "one")
    _ask(house, theirs, "two", model="anthropic:claude-fake")
    _ask(house, theirs, "three", other="openai:gpt-larger")
    assert _find(house, mine) == {
        mine.worker_id: {"openai:gpt-fake"},
        theirs.worker_id: {"anthropic:claude-fake", "openai:gpt-larger"},
    }
    assert idle.worker_id not in _find(house, idle)


def test_one_whose_lease_is_over_does_not_count(house: House, mine: Worker) -> None:
    lapsed, ended = _register(house.ledger), _register(house.ledger)
    for worker, text in ((lapsed, "one"), (ended, "two")):
        _ask(house, worker, text)
    assert set(_find(house, mine)) == {lapsed.worker_id, ended.worker_id}
    _change(house.ledger, lapsed, until=1.0)
    house.ledger.write(lambda c: release(c, ended))
    assert _find(house, mine) == {}


def test_one_that_was_killed_on_this_machine_does_not_count_at_once(house: House, mine: Worker) -> None:
    killed = _register(house.ledger)
    _ask(house, killed, "one")
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    [(process,)] = house.fetch(f"SELECT process FROM leases WHERE worker_id = {killed.worker_id}")  # noqa: S608 - ours
    machine, _, started = process.rsplit(" ", 2)
    _change(house.ledger, killed, process=f"{machine} {gone.pid} {started}")
    assert _find(house, mine) == {}


def _change(ledger: Ledger, worker: Worker, **values: object) -> None:
    ledger.write(lambda c: c.execute(sa.update(leases).where(leases.c.worker_id == worker.worker_id).values(**values)))
