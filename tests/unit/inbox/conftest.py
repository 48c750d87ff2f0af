"""A house whose inbox is drained by hand: runs take requests, answer them, offer and deliver."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from overnight.deliver import deliver_release
from overnight.inbox import find, submit_all
from overnight.inbox.drain import pin_requests
from overnight.inbox.settle import has_waiting, settle_run
from overnight.intake.inbox import InboxSource
from overnight.keys import canonical_json, request_key
from overnight.ledger import Ledger
from overnight.ledger.inbox import InboxRequest
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.runs import set_state
from overnight.parts import read_part, write_part
from overnight.records import Approval, Batch, CheckedBatch, CompletedBatch, Receipt, Release, RowState, RunState
from tests.conftest import House

SOURCE = InboxSource("sort")
SINK = "inbox:sort"


@dataclass
class Desk:
    """Who hands requests in, and runs that take them."""

    house: House
    stack: ExitStack
    keys: dict[str, str] = field(default_factory=dict)

    def send(self, *rows: str | tuple[str, str]) -> list[str]:
        """Requests for these rows, or rows with another text; their keys."""
        given = [(row, f"text of {row}") if isinstance(row, str) else row for row in rows]
        asked = [{"id": row_id, "body": text} for row_id, text in given]
        made = submit_all(asked, self.house.make_prompt(), ledger=self.house.ledger, sent_by="Ada", now=1.0)
        self.keys |= {m.row_id: m.inbox_key for m in made}
        return [m.inbox_key for m in made]

    def open_other(self) -> Desk:
        """The same inbox as another process sees it."""
        ledger = self.stack.enter_context(closing(Ledger(self.house.settings.ledger_url)))
        return Desk(House(self.house.settings, ledger), self.stack, self.keys)

    def take(self, run_id: str, **how: Any) -> list[Batch]:
        """A new run that takes what waits."""
        self.house.begin(run_id)
        prompt = replace(self.house.make_prompt(), name="sort")
        return pin_requests(
            SOURCE, prompt, run_id, ledger=self.house.ledger, place=self.house.home, **({"lease_s": 60.0} | how)
        )

    def take_all(self, run_id: str) -> list[Batch]:
        """As a flow does: what others left is looked after first."""
        return self.take(run_id) if self.has_waiting() else []

    def has_waiting(self) -> bool:
        house = self.house
        return has_waiting(SOURCE, ledger=house.ledger, place=house.home, lease_s=60.0, now=5.0)

    def settle(self, run_id: str) -> None:
        settle_run(run_id, ledger=self.house.ledger, place=self.house.home, lease_s=60.0, now=5.0)

    def end(self, run_id: str, state: RunState) -> None:
        self.house.ledger.write(lambda c: set_state(c, run_id, state))

    def answer(self, run_id: str, batches: Sequence[Batch], **fates: RowState) -> list[CheckedBatch]:
        """Every row accepted but those named: `r2=RowState.PENDING`."""
        return [self._answer(run_id, batch, fates) for batch in batches]

    def offer(self, run_id: str, batches: Sequence[Batch], sink: str = SINK, **fates: RowState) -> Release:
        checked = self.answer(run_id, batches, **fates)
        return self.house.offer_checked(checked, self.house.make_prompt(), sink=sink, run_id=run_id, now=time.time())

    def publish(self, release: Release, **verdicts: Any) -> list[Receipt]:
        """Approve and deliver it."""
        return self.deliver(self.house.approve(release, **verdicts))

    def deliver(self, approval: Approval) -> list[Receipt]:
        return deliver_release(approval, ledger=self.house.ledger, settings=self.house.settings)

    def find(self, row_or_key: str) -> InboxRequest:
        found = find(self.keys.get(row_or_key, row_or_key), ledger=self.house.ledger, now=7.0)
        assert found is not None
        return found

    def states(self) -> dict[str, str]:
        """Where each request stands, by its row id."""
        return dict(self.house.fetch("SELECT row_id, state FROM inbox ORDER BY inbox_id"))

    def rows(self, batches: Sequence[Batch]) -> list[str]:
        return [row["row_id"] for batch in batches for row in read_part(batch.part, self.house.home).to_pylist()]

    def _answer(self, run_id: str, batch: Batch, fates: dict[str, RowState]) -> CheckedBatch:
        prompt, house = self.house.make_prompt(), self.house
        rows = read_part(batch.part, house.home).to_pylist()
        for row in rows:
            row["state"] = (state := fates.get(row["row_id"], RowState.ACCEPTED)).value
            row["request_key"] = request_key(row["input"], prompt.prompt_hash)
            if state == RowState.ACCEPTED:
                row["output"] = canonical_json({"label": "red", "quote": row["row_id"]}).decode()
            else:
                row["failure_class"] = "refusal"
        states = [row["state"] for row in rows]
        n = [states.count(s.value) for s in (RowState.ACCEPTED, RowState.QUARANTINED, RowState.PENDING)]
        part = write_part(rows, house.home)
        completed = CompletedBatch(batch.n, part, prompt.prompt_hash, *n)
        checked = CheckedBatch(batch.n, part, prompt.prompt_hash, prompt.checks_hash, *n)
        house.ledger.write(lambda c: record_batches(c, run_id, [completed]))
        house.ledger.write(lambda c: record_batches(c, run_id, [checked]))
        house.ledger.write(lambda c: record_part(c, f"check-{run_id}-{part.digest}-{batch.n}", checked, 1.0))
        return checked


@pytest.fixture
def desk(house: House) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(house, stack)
