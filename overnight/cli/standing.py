"""Where a run stands whose rows went to a provider, and who goes on with it."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.lives import find_last_pass
from overnight.ledger.provider_batch_progress import BatchProgress
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.queries import list_passes
from overnight.records import BatchState


@dataclass(frozen=True)
class Standing:
    """A run in state "batched"."""

    run_id: str
    deployed: bool
    #: Whether all that providers had of it has come back.
    is_here: bool
    #: Whether a process waits beside it.
    is_waited_for: bool

    def describe(self) -> str | None:
        """Who goes on with it, and when; None where its reason says so already."""
        if self.is_here:
            return f"All of its provider batches have ended: {self._name_next()}."
        if self.is_waited_for:
            return "A process waits beside it, and goes on by itself."
        return "It is resumed by itself when they have ended." if self.deployed else None

    def _name_next(self) -> str:
        if self.is_waited_for:
            return "the process that waits beside it goes on by itself"
        return "it is resumed by itself within five minutes" if self.deployed else f"`overnight continue {self.run_id}`"


def find_standing(connection: sa.Connection, run_id: str, progress: BatchProgress | None) -> Standing | None:
    """
    Where a batched run stands; None where it was never worked on.

    Args:
        connection: To the ledger.
        run_id: Which.
        progress: Of its provider batches that are not over.
    """
    passes = list_passes(connection, run_id)
    last = find_last_pass(connection, passes[-1]["flow_run_id"]) if passes else None
    if last is None:
        return None
    newest = next(iter(list_batches(connection, run_id=run_id, limit=1)), None)
    # What was not taken is sent again: nothing of it is here.
    is_refused = newest is not None and newest.state is BatchState.UNSENT
    return Standing(run_id, last.deployed, progress is None and not is_refused, not last.is_over)
