"""Batches and sends as telemetry is told of them; where it is off, nothing happens here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from overnight.complete.asking import Asking
from overnight.complete.engine import Engine
from overnight.complete.lane import Lane
from overnight.complete.request import Request
from overnight.failures import CallFailed
from overnight.records import Batch, CompletedBatch, Prompt, Reply
from overnight.telemetry import SendFacts


@contextlib.contextmanager
def watching_batch(
    batch: Batch, prompt: Prompt, *, run_id: str, engine: Engine, pass_n: int
) -> Iterator[Callable[[CompletedBatch], None]]:
    """For as long as a batch is worked on; takes what it came to."""
    if engine.telemetry is None:
        yield lambda _: None
    else:
        with engine.telemetry.in_batch(batch, prompt, run_id, pass_n) as take:
            yield take


@contextlib.contextmanager
def watching_send(
    asking: Asking, request: Request, lane: Lane, attempt_id: int, body: bytes
) -> Iterator[Callable[[Reply], None]]:
    """For as long as a call is under way and its answer is judged; takes the reply."""
    telemetry = asking.engine.telemetry
    if telemetry is None:
        yield lambda _: None
        return
    replies: list[Reply] = []
    span = telemetry.begin_send(_describe(asking, request, lane, attempt_id, body))
    try:
        yield replies.append
    except CallFailed as failure:
        span.end(failure.reply, lane.failed_cost_usd(failure), failure.failure_class.value)
        raise
    except BaseException as error:
        span.end(None, None, type(error).__name__)
        raise
    span.end(replies[0], lane.cost_usd(replies[0]))


def _describe(asking: Asking, request: Request, lane: Lane, attempt_id: int, body: bytes) -> SendFacts:
    return SendFacts(
        run_id=asking.context.run_id,
        request_key=request.key,
        attempt_id=attempt_id,
        cause=request.course.cause,
        provider=lane.model.provider,
        model=lane.model.name,
        endpoint=lane.endpoint,
        body=body,
    )
