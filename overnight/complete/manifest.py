"""The manifest of a batch whose rows have their outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from overnight.records import Batch, CompletedBatch, Part, Prompt, RowState


def make_completed(batch: Batch, prompt: Prompt, part: Part, states: Sequence[str]) -> CompletedBatch:
    """The batch with the part that holds its rows now, counted by where they stand."""
    return CompletedBatch(
        n=batch.n,
        part=part,
        prompt_hash=prompt.prompt_hash,
        n_accepted=states.count(RowState.ACCEPTED),
        n_quarantined=states.count(RowState.QUARANTINED),
        n_pending=states.count(RowState.PENDING),
        step=batch.step,
    )
