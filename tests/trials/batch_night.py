"""A night in batch mode without Prefect: its turns, and what is waited for between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.complete import Turn, begin_turn, complete_in_passes, describe_halt, end_turn, follow_batches, take_back
from overnight.records import Batch, CompletedBatch
from overnight.taxonomy import MAX_PASSES
from tests.conftest import House
from tests.fakes.provider import FakeProvider
from tests.trials.night import Ended, Night

MODELS = {"openai": "openai:gpt-4o", "anthropic": "anthropic:claude-sonnet-4-5"}
N_ROWS = 60
#: Turns of a night, at the most: one that has not ended by then never would.
MOST_TURNS = 30


@dataclass(frozen=True)
class BatchNight(Night):
    """One run over one source, in one engine, as `tasks.complete` works in batch mode."""

    def work_in_batches(
        self, wait: Callable[[], None] = lambda: None, *, n_before: int = 0, most_turns: int = MOST_TURNS
    ) -> Ended:
        """
        Go over the batches, turn by turn, until no row is with a provider.

        Args:
            wait: What happens between two turns.
            n_before: Turns that it has taken already.
            most_turns: How many the provider may take.
        """
        started = time.monotonic()
        for n in range(n_before, n_before + most_turns):
            turn, ended = self.take_turn(n)
            if turn is Turn.OVER:
                break
            if turn is Turn.WAIT:
                wait()
        else:
            raise AssertionError(f"It has not ended after {most_turns} turns.")
        context = self.engine.context(self.run_id)
        completed = {b.n: b for b in [*ended.completed, *take_back(ended.completed, context, self.engine)]}
        n_left = sum(batch.n_pending for batch in completed.values())
        why = describe_halt(context, self.prompt, n_left, self.engine.ledger) if context.halted else ""
        return Ended(list(completed.values()), n + 1, time.monotonic() - started, why)

    def take_turn(self, n: int = 0, *, meanwhile: Callable[[], None] = lambda: None) -> tuple[Turn, Ended]:
        """
        Go over the batches once.

        Args:
            n: The turns before it; the first begins a pass of the run.
            meanwhile: What happens when the rows were gone over, before what was put together is sent.
        """
        context, started = (
            self.engine.context(self.run_id) if n else self.engine.begin_pass(self.run_id),
            time.monotonic(),
        )

        def complete(batches: Sequence[Batch], pass_n: int) -> list[CompletedBatch]:
            return self._complete(batches, pass_n + n * MAX_PASSES)

        begin_turn(context, self.engine)
        asked = complete_in_passes(self.batches, complete, context=context, engine=self.engine)
        meanwhile()
        return end_turn(context, self.engine), Ended(asked, 1, time.monotonic() - started, "")

    def end_batches(self, fake: FakeProvider) -> None:
        """The provider is done with all that it has, and the schedule records it."""
        fake.batches.end()
        follow_batches(self.house.ledger, self.engine.settings)


def list_calls(fake: FakeProvider) -> list[Any]:
    """The bodies of calls of their own."""
    return [call.body for call in fake.calls if call.body is not None]


def count_states(house: House) -> dict[str, int]:
    """Provider batches by state."""
    return dict(house.fetch("SELECT state, count(*) FROM provider_batches GROUP BY state"))


def count_items(house: House) -> dict[str | None, int]:
    """Requests of provider batches by what came of them."""
    return dict(house.fetch("SELECT kind, count(*) FROM provider_batch_items GROUP BY kind"))


def lapse_leases(house: House) -> None:
    """All processes have stood still for longer than they may, as a laptop does whose lid is shut."""
    house.tamper("UPDATE leases SET until = 1.0 WHERE clock <> 'batch'")
