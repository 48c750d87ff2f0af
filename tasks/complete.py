"""Completing: one task run a batch and pass; the calls of all of them share the process's engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import tags
from prefect.futures import as_completed

from overnight.complete import (
    LOST,
    RunContext,
    complete_in_passes,
    describe_halt,
    get_engine,
    leave_taken,
    refuse_unpriced,
    spare_lost,
    take_back,
)
from overnight.failures import RunHalted
from overnight.ledger.manifests import record_batches
from overnight.records import Batch, CompletedBatch, Prompt
from overnight.settings import Settings
from tasks.cache import ByInputAndPrompt, completed_key
from tasks.check import get_validator
from tasks.elsewhere import complete_elsewhere
from tasks.machines import ON_MACHINES, find_machines
from tasks.nightly import batch_task, name_task_run
from tasks.one_batch import complete_and_record, record_completed, showing_progress
from tasks.plan import find_planning
from tasks.run import Run, current_run


def complete_batches(batches: list[Batch], prompt: Prompt, model: str | None = None) -> list[CompletedBatch]:
    """
    Have every batch answered, by the model given or the prompt's own, in up to four passes.

    A run that has offered its release asks nothing more: rows that were pending then stay so.

    Raises:
        RunHalted: A key, a spend limit, a budget or an outage ended the run; what was answered is kept.
    """
    if planning := find_planning():
        return planning.complete_batches(batches, prompt, model)
    if not batches:
        return []
    run = current_run()
    prompt = run.pin_model(prompt, model)
    context = run.engine.context(run.run_id)
    run.refuse_if_stopped()
    refuse_unpriced(prompt, run.settings)
    settled = run.find_offered(batches[0].step)
    left = spare_lost([b for b in batches if b.n not in settled], run.find_lost(), run.settings.parts)
    asked_or_settled = [*left, *(b for b in batches if b.n in settled)]
    context.progress.total += sum(b.n_rows - b.n_quarantined for b in asked_or_settled)

    def complete_all(some: Sequence[Batch], pass_n: int) -> list[CompletedBatch]:
        return _complete_all(some, prompt, run, pass_n)

    asked = complete_in_passes(left, complete_all, context=context, engine=run.engine)
    made = {b.n: b for b in [*asked, *_take_back(left, asked, prompt, context)]}
    # Not in the tasks: what the cache serves is for runs of other families too.
    left_to = run.find_left(prompt.name)
    kept = leave_taken(list(made.values()), left_to, run.settings.parts)
    # Once more: others may have taken rows over while these were asked.
    kept = leave_taken(kept, run.find_lost(), run.settings.parts, why=LOST)
    by_number = settled | {b.n: b for b in kept}
    completed = [by_number[n] for n in sorted(by_number)]
    run.ledger.write(lambda connection: record_batches(connection, run.run_id, completed))
    if context.halted:
        n_left = sum(batch.n_pending for batch in completed)
        raise RunHalted(describe_halt(context, prompt, n_left, run.ledger))
    # Rows of batches that the cache served were not counted one by one.
    context.progress.done = context.progress.total
    return completed


def _take_back(
    batches: list[Batch], asked: list[CompletedBatch], prompt: Prompt, context: RunContext
) -> list[CompletedBatch]:
    """What is made anew is a new generation: the cache must not serve the one before it."""
    engine = get_engine(Settings.from_env())
    remade, by_number = take_back(asked, context, engine), {batch.n: batch for batch in batches}
    for completed in remade:
        key = completed_key(by_number[completed.n], prompt, engine.ledger)
        engine.ledger.write(lambda connection, k=key, c=completed: record_completed(connection, k, c, context.run_id))  # type: ignore[misc]
    return remade


def _complete_all(batches: Sequence[Batch], prompt: Prompt, run: Run, pass_n: int) -> list[CompletedBatch]:
    if machines := find_machines():
        # Beside the calls: the checks are made here, whoever asks.
        get_validator().start()
        return complete_elsewhere(batches, prompt, run, pass_n, machines)
    with tags(prompt.name, prompt.model):
        futures: list[Any] = [complete_batch.submit(batch, prompt, run.run_id, pass_n) for batch in batches]
    with showing_progress(batches, run.run_id, pass_n) as show:
        for future in as_completed(futures):
            show(future.result())
    return [future.result() for future in futures]


@batch_task(name=ON_MACHINES, task_run_name=name_task_run, cache_policy=ByInputAndPrompt())
def complete_batch(batch: Batch, prompt: Prompt, run_id: str, pass_n: int) -> CompletedBatch:
    """Have one batch answered, from the ledger where it can be."""
    # Its import takes seconds: beside the calls, not after them, and not at all where every batch is cached.
    get_validator().start()
    return complete_and_record(batch, prompt, run_id, pass_n, get_engine(Settings.from_env()))
