"""A night in batch mode without Prefect: its turns, and what is waited for between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from overnight.complete import Turn, begin_turn, complete_in_passes, describe_halt, end_turn, take_back
from overnight.records import Batch, CompletedBatch
from overnight.taxonomy import MAX_PASSES
from tests.trials.night import Ended, Night

#: Turns of a night, at the most: one that has not ended by then never would.
MOST_TURNS = 30


@dataclass(frozen=True)
class BatchNight(Night):
    """One run over one source, in one engine, as `tasks.complete` works in batch mode."""

    def work_in_batches(self, wait: Callable[[], None] = lambda: None, *, most_turns: int = MOST_TURNS) -> Ended:
        """
        Go over the batches, turn by turn, until no row is with a provider.

        Args:
            wait: What happens between two turns.
            most_turns: How many the provider may take.
        """
        context, started = self.engine.begin_pass(self.run_id), time.monotonic()
        for turn in range(most_turns):

            def complete(
                batches: Sequence[Batch], pass_n: int, n_before: int = turn * MAX_PASSES
            ) -> list[CompletedBatch]:
                return self._complete(batches, pass_n + n_before)

            begin_turn(context, self.engine)
            asked = complete_in_passes(self.batches, complete, context=context, engine=self.engine)
            if (turn_ended := end_turn(context, self.engine)) is Turn.OVER:
                break
            if turn_ended is Turn.WAIT:
                wait()
        else:
            raise AssertionError(f"It has not ended after {most_turns} turns.")
        completed = {b.n: b for b in [*asked, *take_back(asked, context, self.engine)]}
        n_left = sum(batch.n_pending for batch in completed.values())
        why = describe_halt(context, self.prompt, n_left, self.engine.ledger) if context.halted else ""
        return Ended(list(completed.values()), turn + 1, time.monotonic() - started, why)
