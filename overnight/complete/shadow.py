"""Shadow runs: another prompt on a sample of the night's rows, within bounds of its own."""

from __future__ import annotations

import contextlib
import heapq
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from overnight.complete.batch import complete_batch
from overnight.complete.context import RunContext
from overnight.complete.engine import Engine
from overnight.complete.resolve import refuse_unpriced, resolve_prompt
from overnight.failures import CallFailed, OvernightError, PromptRefused
from overnight.keys import batch_digest, digest_bytes
from overnight.ledger.spend import Cap, run_scope
from overnight.llm import parse_model
from overnight.parts import read_part, write_columns
from overnight.place import PartsPlace
from overnight.prompts import load_prompt
from overnight.records import Batch, CompletedBatch, Prompt, RowState
from overnight.settings import Settings
from overnight.taxonomy import FailureClass


def load_shadow(named: str, prompt: Prompt, settings: Settings) -> Prompt:
    """
    The prompt that shadows another, ready to be asked.

    Args:
        named: A prompt's folder, or NAME@PROVIDER:MODEL.
        prompt: Whose rows it is given.
        settings: What the project declares of models.

    Raises:
        OvernightError: The prompt, its model or its price is not there, or it reads what the rows have not.
    """
    name, _, model = named.partition("@")
    found = load_prompt(name)
    missing = {*found.inputs, *found.optional_inputs} - {*prompt.inputs, *prompt.optional_inputs}
    if missing:
        raise PromptRefused(
            f"Prompt {name} is to shadow {prompt.name} and reads {', '.join(sorted(missing))}, which {prompt.name} does"
            " not: both are given the same rows. Take it out of its inputs, or shadow another prompt."
        )
    if model:
        parse_model(model)
    resolved = resolve_prompt(found, model or None)
    refuse_unpriced(resolved, replace(settings, budget_usd=settings.shadow_budget_usd))
    return resolved


def draw_sample(batches: Sequence[Batch], n_rows: int, place: PartsPlace) -> Batch:
    """
    Rows of these batches, always the same ones: those whose inputs have the lowest hashes.

    Raises:
        OvernightError: There is no row that could be asked.
    """
    chosen = heapq.nsmallest(n_rows, _stream(batches, place))
    if not chosen:
        raise OvernightError("There is no row that a shadow run could ask: all were set aside at intake.")
    _, ids, numbers, inputs = zip(*chosen, strict=True)
    part = write_columns(
        {
            "row_id": ids,
            "row_number": numbers,
            "input": inputs,
            "state": [RowState.PENDING.value] * len(ids),
        },
        place,
    )
    digest = batch_digest(zip(ids, inputs, strict=True))
    return Batch(1, part, digest, n_rows=len(ids), n_quarantined=0, step=batches[0].step)


def ask_sample(
    sample: Batch, prompt: Prompt, *, run_id: str, budget_usd: float, time_s: float, engine: Engine
) -> tuple[CompletedBatch, CallFailed | None]:
    """
    The sample with its answers, and what ended it before all had come.

    It asks under a cap of its own besides the night's, and nobody any more once its time is over; calls that are in
    flight then are waited for.
    """
    context = engine.begin_pass(run_id)
    context.cap = Cap(run_scope(run_id), budget_usd)
    context.progress.total = sample.n_rows
    with _bounded(context, time_s):
        completed = complete_batch(sample, prompt, run_id=run_id, engine=engine)
    return completed, context.halted


@contextlib.contextmanager
def _bounded(context: RunContext, time_s: float) -> Iterator[None]:
    line = f"It took longer than {time_s:g} s. Raise OVERNIGHT_SHADOW_S, or ask fewer rows."
    timer = threading.Timer(time_s, context.halt, [CallFailed(FailureClass.STOPPED, line)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _stream(batches: Sequence[Batch], place: PartsPlace) -> Iterator[tuple[str, str, int, str]]:
    for batch in batches:
        table = read_part(batch.part, place)
        columns = (table[name].to_pylist() for name in ("row_id", "row_number", "input", "state"))
        for row_id, number, given, state in zip(*columns, strict=True):
            if state == RowState.PENDING:
                yield digest_bytes(given.encode()), row_id, number, given
