"""Nights for tests of a purge: asked, reviewed, delivered, and made old."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from overnight.approve import find_continued
from overnight.complete import Engine, complete_batch
from overnight.deliver import deliver_release, describe_sink
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.runs import pin_model, pin_prompt, set_state
from overnight.purge import Purged, purge
from overnight.records import CheckedBatch, Prompt, Release, RunState
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider

TEXTS = ["a red car of Hidden Lane", "a blue car of Hidden Lane"]
SAID = "Hidden Lane"


class Nights:
    """Nights over a fake provider, each with its release."""

    def __init__(self, house: House, fake: FakeProvider, engine: Engine) -> None:
        self.house, self.fake, self.engine = house, fake, engine
        self.prompt: Prompt = house.make_prompt(endpoint=fake.openai_base_url)

    def ask(self, texts: list[str] = TEXTS, run_id: str = RUN, *, first: int = 1) -> CheckedBatch:
        """The texts asked by a run, and checked."""
        house, prompt, write = self.house, self.prompt, self.house.ledger.write
        house.begin(run_id)
        batch = house.read_batch(texts, first=first)
        write(lambda c: (record_prompt(c, prompt, 1.0), pin_prompt(c, run_id, prompt)))
        write(lambda c: (pin_model(c, run_id, prompt), record_batches(c, run_id, [batch])))
        completed = complete_batch(batch, prompt, run_id=run_id, engine=self.engine)
        checked = CheckedBatch(
            1, completed.part, prompt.prompt_hash, prompt.checks_hash, len(texts), 0, 0, warnings=(f"of {SAID}",)
        )
        write(lambda c: (record_batches(c, run_id, [completed]), record_part(c, f"check-{run_id}", checked, 1.0)))
        return checked

    def offer(self, texts: list[str] = TEXTS, run_id: str = RUN) -> Release:
        return self.house.offer_checked([self.ask(texts, run_id)], self.prompt, run_id=run_id)

    def publish(self, texts: list[str] = TEXTS, run_id: str = RUN) -> Release:
        """A night to its end."""
        release = self.offer(texts, run_id)
        self.deliver(release, r1={"corrected": {"quote": f"by {SAID}"}})
        self.end(run_id)
        return release

    def deliver(self, release: Release, **verdicts: Any) -> None:
        """What a reviewer lets out of it."""
        approval = self.house.approve(release, **verdicts)
        deliver_release(approval, ledger=self.house.ledger, settings=self.house.settings)

    def offer_retry(
        self, run_id: str, of_run: str, texts: Sequence[str] = ("a mended blue car",), *, first: int = 11
    ) -> Release:
        """What a retry, which has begun, adds to the rows of the run: rows that nobody has offered."""
        house = self.house
        checked = self.ask(list(texts), run_id, first=first)
        continues = find_continued(house.ledger, of_run, describe_sink(house.sink, house.settings))
        return house.offer_checked([checked], self.prompt, run_id=run_id, continues=continues, now=time.time())

    def end(self, run_id: str, state: RunState = RunState.RELEASED) -> None:
        self.house.ledger.write(lambda c: set_state(c, run_id, state, f"because of {SAID}"))

    def make_old(self) -> None:
        """Let all that was recorded lie far back; what was approved cannot be used any more."""
        for statement in (
            "UPDATE requests SET recorded_at = 2",
            "UPDATE attempts SET opened_at = 2",
            "UPDATE completions SET accepted_at = 2",
            "UPDATE review_answers SET recorded_at = 2",
            "UPDATE approvals SET issued_at = 2, consumed_at = 2, expires_at = 2",
        ):
            try:
                self.house.tamper(statement)
            except AssertionError:
                continue  # there is nothing of it
        for path in self.house.home.rglob("*.parquet"):
            os.utime(path, (2, 2))

    def purge(self, *, is_dry: bool = False, before: float = 1000.0, clock: Callable[[], float] = time.time) -> Purged:
        return purge(
            self.house.ledger, self.house.home, self.house.home, before=before, by="Ada", is_dry=is_dry, clock=clock
        )

    def count(self, what: str) -> int:
        return int(self.house.fetch(f"SELECT count(*) FROM {what}")[0][0])  # noqa: S608 - of these tests

    def list_left(self) -> list[str]:
        """The tables in which the rows' words stand."""
        words = {
            "requests": "input", "completions": "output", "review_answers": "verdicts", "draws": "items",
            "verdicts": "correction", "runs": "reason", "run_batches": "manifest", "parts": "manifest",
        }  # fmt: skip
        return [name for name, column in words.items() if self.count(f"{name} WHERE {column} LIKE '%{SAID}%'")]


def quote(body: dict[str, Any]) -> dict[str, Any]:
    """An answer in the words of the row."""
    text = str(body["messages"][-1]["content"])
    return {"label": "blue" if "blue" in text else "red", "quote": f"a {'blue' if 'blue' in text else 'red'} {SAID}"}


@pytest.fixture
def nights(house: House, fake: FakeProvider) -> Iterator[Nights]:
    fake.answer = quote
    with closing(Engine(house.settings, house.ledger)) as engine:
        yield Nights(house, fake, engine)
