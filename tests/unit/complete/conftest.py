"""Engines over the fake provider, and what a batch came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from overnight.complete import Engine, complete_batch
from overnight.parts import read_part
from overnight.records import Batch, CompletedBatch, Prompt
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider


@dataclass(frozen=True)
class Desk:
    """An engine over a provider."""

    house: House
    fake: FakeProvider
    engine: Engine

    def make_prompt(self, *row_rules: dict[str, Any], model: str | None = None) -> Prompt:
        return self.house.make_prompt(*row_rules, model=model, endpoint=self.fake.openai_base_url)

    def complete(self, batch: Batch, prompt: Prompt | None = None, *, run_id: str = RUN) -> CompletedBatch:
        return complete_batch(batch, prompt or self.make_prompt(), run_id=run_id, engine=self.engine)

    def ask(self, texts: list[str], prompt: Prompt | None = None, *, run_id: str = RUN) -> list[dict[str, Any]]:
        """What became of the texts, row by row."""
        return self.read(self.complete(self.house.read_batch(texts), prompt, run_id=run_id))

    def read(self, completed: CompletedBatch) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = read_part(completed.part, self.house.home).to_pylist()
        return rows

    def list_states(self, texts: list[str], prompt: Prompt | None = None, *, run_id: str = RUN) -> list[str]:
        return [row["state"] for row in self.ask(texts, prompt, run_id=run_id)]

    def why_halted(self, run_id: str = RUN) -> str:
        halted = self.engine.context(run_id).halted
        return str(halted) if halted else ""


@pytest.fixture
def open_desk(house: House, fake: FakeProvider) -> Iterator[Callable[..., Desk]]:
    """Opens a desk with other settings; each is an engine of its own, as in another process."""
    house.begin()
    with ExitStack() as stack:
        yield lambda **changes: Desk(
            house, fake, stack.enter_context(closing(Engine(replace(house.settings, **changes), house.ledger)))
        )


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()
