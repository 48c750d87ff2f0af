"""Completing: one task run a batch; the calls of all of them share the process's engine."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from prefect import tags
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import as_completed
from prefect.logging import get_run_logger

from overnight import complete
from overnight.complete import get_engine
from overnight.failures import RunHalted
from overnight.ledger.runs import record_batches, record_part
from overnight.records import Batch, CompletedBatch, Prompt
from overnight.settings import Settings
from tasks.cache import ByInputAndPrompt, completed_key
from tasks.check import get_validator
from tasks.nightly import batch_task
from tasks.run import Run, current_run


def complete_batches(batches: list[Batch], prompt: Prompt, model: str | None = None) -> list[CompletedBatch]:
    """
    Have every batch answered, by the model given or the prompt's own.

    A run that has offered its release asks nothing more: rows that were pending then stay so.

    Raises:
        RunHalted: A key, a spend limit or the budget ended the run; what was answered is kept.
    """
    run = current_run()
    prompt = run.pin_model(prompt, model)
    context = run.engine.begin_pass(run.run_id)
    context.progress.total = sum(b.n_rows - b.n_quarantined for b in batches)
    settled = run.find_offered()
    asked = _complete_all([b for b in batches if b.n not in settled], prompt, run)
    completed = sorted([*settled.values(), *asked], key=lambda batch: batch.n)
    run.ledger.write(lambda connection: record_batches(connection, run.run_id, completed))
    if context.halted:
        raise RunHalted(
            f"Run {run.run_id} halted: {context.halted} Answers so far are kept: mend the cause and run the flow again,"
            " they are hits."
        )
    return completed


def _complete_all(batches: list[Batch], prompt: Prompt, run: Run) -> list[CompletedBatch]:
    with tags(prompt.name, prompt.model):
        futures = [complete_batch.submit(batch, prompt, run.run_id) for batch in batches]
    artifact: Any = create_progress_artifact(progress=0.0, key=f"progress-{run.run_id}", description="Rows completed")
    n_rows, n_done = sum(b.n_rows for b in batches) or 1, 0
    for future in as_completed(futures):
        n_done += future.result().part.n_rows
        update_progress_artifact(artifact, progress=100.0 * n_done / n_rows)
    return [future.result() for future in futures]


@batch_task(name="complete-batch", task_run_name="complete-batch-{batch.n}", cache_policy=ByInputAndPrompt())
def complete_batch(batch: Batch, prompt: Prompt, run_id: str) -> CompletedBatch:
    """Have one batch answered, from the ledger where it can be."""
    # Its import takes seconds: beside the calls, not after them, and not at all where every batch is cached.
    get_validator().start()
    engine = get_engine(Settings.from_env())
    completed = complete.complete_batch(batch, prompt, run_id=run_id, engine=engine)
    key = completed_key(batch, prompt, engine.ledger)
    engine.ledger.write(lambda connection: _record(connection, key, completed, run_id))
    get_run_logger().info(
        "Batch %d: %d accepted, %d quarantined, %d pending",
        *(completed.n, completed.n_accepted, completed.n_quarantined, completed.n_pending),
    )
    return completed


def _record(connection: sa.Connection, key: str, completed: CompletedBatch, run_id: str) -> None:
    record_part(connection, key, completed, time.time())
    record_batches(connection, run_id, [completed])
