"""Passes: rows that were left go round again after the others; what a halt shows to be nobody's fault is taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from overnight.complete.context import RunContext
from overnight.complete.engine import Engine
from overnight.ledger.completions import forget_refusals
from overnight.llm import repeating_passes
from overnight.parts import read_part, write_part
from overnight.records import Batch, CompletedBatch, RowState
from overnight.taxonomy import FailureClass


def complete_in_passes(
    batches: Sequence[Batch],
    complete: Callable[[Sequence[Batch], int], Sequence[CompletedBatch]],
    *,
    context: RunContext,
    engine: Engine,
) -> list[CompletedBatch]:
    """
    Complete the batches, and those with rows pending again, until none is left, the run halts, or the passes are over.

    Args:
        batches: The run's.
        complete: Completes some of them; is told the number of the pass, from 1.
        context: The run.
        engine: Whose settings say how long the pauses are.
    """
    completed: dict[int, CompletedBatch] = {}
    context.n_in_batches.clear()
    context.n_in_doubt.clear()
    passes = repeating_passes(
        base_s=engine.settings.retry_base_s, stopping=context.stopping, find_least_s=context.find_due_s
    )

    def go_over() -> bool:
        pass_n = passes.statistics["attempt_number"]
        left = [b for b in batches if pass_n == 1 or completed[b.n].n_pending]
        completed.update({batch.n: batch for batch in complete(left, pass_n)})
        context.n_arrived = 0
        # What is with a provider is not asked otherwise, however often.
        n_waiting = sum(context.n_in_batches.values()) + sum(context.n_in_doubt.values())
        n_left = sum(batch.n_pending for batch in completed.values()) - n_waiting
        return context.halted is None and n_left > 0

    context.is_completing = True
    try:
        passes(go_over)
    finally:
        context.is_completing = False
    return list(completed.values())


def take_back(completed: Sequence[CompletedBatch], context: RunContext, engine: Engine) -> list[CompletedBatch]:
    """
    Batches made anew, their refused rows pending, where the same bad request halted the run and no row is to blame.

    A row that has failed so twice, in whichever runs, stays set aside: otherwise some that always fail, one after the
    other, would halt every run.
    """
    blameless = sorted(context.blameless)
    if not blameless:
        return []
    forgotten = set(
        engine.ledger.write(lambda connection: forget_refusals(connection, blameless, FailureClass.BAD_REQUEST))
    )
    remade = [_free_rows(batch, forgotten, engine) for batch in completed if batch.n_quarantined]
    return [batch for batch in remade if batch not in completed]


def _free_rows(completed: CompletedBatch, keys: set[str], engine: Engine) -> CompletedBatch:
    rows = read_part(completed.part, engine.settings.parts).to_pylist()
    freed = [row for row in rows if row["request_key"] in keys and row["state"] == RowState.QUARANTINED]
    for row in freed:
        row["state"] = RowState.PENDING.value
    return replace(
        completed,
        part=write_part(rows, engine.settings.parts),
        n_quarantined=completed.n_quarantined - len(freed),
        n_pending=completed.n_pending + len(freed),
    )
