"""Completing: one task run a batch and pass; the calls of all of them share the process's engine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prefect import tags
from prefect.futures import as_completed
from prefect.logging import get_run_logger

from overnight.complete import (
    LOST,
    RunContext,
    Turn,
    begin_turn,
    complete_in_passes,
    describe_halt,
    end_turn,
    get_engine,
    has_open_batches,
    leave_taken,
    refuse_unpriced,
    spare_lost,
    take_back,
)
from overnight.failures import RunHalted
from overnight.ledger.manifests import record_batches
from overnight.records import Batch, CompletedBatch, Mode, Prompt
from overnight.settings import Settings
from overnight.taxonomy import MAX_PASSES
from tasks.batches import wait_for_batches
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
    refuse_unpriced(prompt, replace(run.settings, budget_usd=context.cap.usd))
    settled = run.find_offered(batches[0].step)
    left = spare_lost([b for b in batches if b.n not in settled], run.find_lost(), run.settings.parts)
    asked_or_settled = [*left, *(b for b in batches if b.n in settled)]
    context.progress.total += sum(b.n_rows - b.n_quarantined for b in asked_or_settled)

    asked = _ask(left, prompt, run)
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


def _ask(batches: list[Batch], prompt: Prompt, run: Run) -> list[CompletedBatch]:
    """Go over the rows in passes; in turns, again each time that providers are done with some."""
    context, engine = run.engine.context(run.run_id), run.engine
    mode = run.pin_mode(prompt)
    # What an earlier pass handed over comes back first, however its rows are asked now.
    in_turns = mode is Mode.BATCH or has_open_batches(run.run_id, run.ledger)
    for turn in itertools.count():

        def complete_all(some: Sequence[Batch], pass_n: int, n_before: int = turn * MAX_PASSES) -> list[CompletedBatch]:
            return _complete_all(some, prompt, run, pass_n + n_before, in_turns=in_turns)

        if in_turns:
            for line in begin_turn(context, engine, gives_up=mode is Mode.ONLINE):
                get_run_logger().warning("%s", line)
                context.notes.append(line)
        asked = complete_in_passes(batches, complete_all, context=context, engine=engine)
        run.ledger.write(lambda connection, found=asked: record_batches(connection, run.run_id, found))  # type: ignore[misc]
        if not in_turns or (turn_ended := end_turn(context, engine)) is Turn.OVER:
            break
        if turn_ended is Turn.WAIT:
            wait_for_batches(run)
    return asked


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


def _complete_all(
    batches: Sequence[Batch], prompt: Prompt, run: Run, pass_n: int, *, in_turns: bool
) -> list[CompletedBatch]:
    # Putting requests together, and taking what came for them, is no work for a cluster.
    if (machines := find_machines()) and not in_turns:
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
