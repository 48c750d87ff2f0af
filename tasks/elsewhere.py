"""Completing on other machines: each batch goes to a worker of the cluster, and comes back as a manifest."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from prefect import tags
from prefect.client.schemas.objects import State
from prefect.futures import as_completed
from prefect.states import Completed

from overnight.complete import MAX_PAUSE_S, Engine, Progress, RunContext, get_engine
from overnight.ledger.halts import find_blameless
from overnight.ledger.manifests import find_part, record_batches
from overnight.parts import is_whole
from overnight.records import Batch, CompletedBatch, Prompt
from overnight.taxonomy import FailureClass
from tasks.cache import completed_key
from tasks.machines import ON_MACHINES, Machines
from tasks.nightly import batch_task, name_task_run
from tasks.one_batch import complete_and_record, showing_progress
from tasks.orders import Finished, Orders, give_orders, obey
from tasks.run import Run


def complete_elsewhere(
    batches: Sequence[Batch], prompt: Prompt, run: Run, pass_n: int, machines: Machines
) -> list[CompletedBatch]:
    """
    Have batches answered by the workers of a cluster.

    Raises:
        OvernightError: A worker cannot do it, or the cluster was lost.
    """
    context = run.engine.context(run.run_id)
    # A worker that joins the pass must not hear what stopped the one before it.
    context.cleared.result()
    orders = give_orders(
        run.run_id,
        prompt,
        batches[0].part,
        run.settings,
        pass_id=context.pass_id,
        n_processes=machines.n_processes,
    )
    machines.refuse_misfits(orders)
    orders = replace(orders, n_processes=machines.n_processes)
    with tags(prompt.name, prompt.model):
        futures: list[Any] = [complete_there.submit(batch, prompt, orders, pass_n) for batch in batches]
    completed, counts = [], _Counts(context)
    with showing_progress(batches, run.run_id, pass_n) as show, _translating(machines):
        for future in as_completed(futures):
            finished: Finished = future.result()
            counts.take(finished)
            completed.append(finished.completed)
            show(finished.completed)
    run.engine.hear(run.run_id)
    if context.halted and context.halted.failure_class is FailureClass.BAD_REQUEST:
        context.blameless = run.ledger.read(
            lambda connection: find_blameless(connection, run.run_id, str(context.halted), run.settings.concurrency)
        )
    return sorted(completed, key=lambda batch: batch.n)


# Nothing of it is stored by Prefect, whose results lie on the disk of whoever made them: what was made for the same
# rows before is found in the ledger, by any machine.
@batch_task(name=ON_MACHINES, task_run_name=name_task_run)
def complete_there(batch: Batch, prompt: Prompt, orders: Orders, pass_n: int) -> Finished | State[Any]:
    """Have one batch answered on a worker."""
    return work_on(batch, prompt, orders, pass_n)


def work_on(batch: Batch, prompt: Prompt, orders: Orders, pass_n: int) -> Finished | State[Any]:
    """What a worker does with a batch."""
    engine = get_engine(obey(orders))
    context = engine.join_pass(orders.run_id, orders.pass_id, n_processes=orders.n_processes)
    if made := _find_made(batch, prompt, orders.run_id, engine):
        return Completed(name="Cached", data=_report(made, context))
    return _report(complete_and_record(batch, prompt, orders.run_id, pass_n, engine), context)


def _find_made(batch: Batch, prompt: Prompt, run_id: str, engine: Engine) -> CompletedBatch | None:
    """What was made of the same rows, where nothing of it is left to ask and it can still be read."""
    key = completed_key(batch, prompt, engine.ledger)
    found = engine.ledger.read(lambda connection: find_part(connection, key, CompletedBatch))
    if found is None or found[1].n_pending or not is_whole(found[1].part, engine.settings.parts):
        return None
    engine.ledger.write(lambda connection: record_batches(connection, run_id, [found[1]]))
    return found[1]


def _report(completed: CompletedBatch, context: RunContext) -> Finished:
    due = {round(at) for at in context.due.values()}
    return Finished(completed, _name_process(), replace(context.progress), tuple(sorted(due)[: int(MAX_PAUSE_S)]))


@functools.cache
def _name_process() -> str:
    return uuid.uuid4().hex


class _Counts:
    """The run's progress as the flow's process shows it: what each worker said last, together."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._latest: dict[str, Progress] = {}

    def take(self, finished: Finished) -> None:
        latest = self._latest.get(finished.who)
        if latest is None or latest.done + latest.calls <= finished.progress.done + finished.progress.calls:
            self._latest[finished.who] = finished.progress
        self._context.due.update({f"at {at}": at for at in finished.due})
        progress = self._context.progress
        for name in (field.name for field in fields(Progress) if field.name != "total"):
            setattr(progress, name, sum(getattr(each, name) for each in self._latest.values()))
        # What a worker had done of a batch before it was killed is another's hit.
        progress.done = min(progress.done, progress.total)


@contextlib.contextmanager
def _translating(machines: Machines) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if translated := machines.translate(error):
            raise translated from error
        raise
