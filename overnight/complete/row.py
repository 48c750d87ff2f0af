"""One row: asked until it has an answer, or a reason why not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from overnight.complete.asking import Asking, Outcome, leave
from overnight.complete.closing import CheckFailed, is_final
from overnight.complete.context import RunContext
from overnight.complete.judge import find_outcome
from overnight.complete.lane import Lane
from overnight.complete.money import OverBudget
from overnight.complete.provider.arrived import take_answer
from overnight.complete.provider.handing_over import find_waiting, hand_over, is_packed, wait_for_money
from overnight.complete.request import Request
from overnight.complete.send import Sending, open_sending, send, take_back
from overnight.failures import CallFailed, LedgerRefused, RunHalted
from overnight.ledger.attempts import NotOpened
from overnight.ledger.sends import Sends
from overnight.llm import Pass, keep_asking
from overnight.records import RowState
from overnight.taxonomy import FailureClass, FailureKind


async def ask_row(asking: Asking, key: str, input_json: str, values: Mapping[str, Any], sends: Sends) -> Outcome:
    """
    Send the row's request until it is answered, refused for good, or left for a later pass.

    Args:
        asking: What it shares with the rows of its batch.
        key: The request's key.
        input_json: The row's input as canonical JSON, and as values.
        values: The same.
        sends: What the run has sent for it before.

    Raises:
        RunHalted: The run stops; the row is as it was.
        LedgerRefused: Nothing can be recorded any more; the run stops.
    """
    try:
        request = Request(asking, key, input_json, values, sends)
        base_s = asking.engine.settings.retry_base_s
        return await keep_asking(lambda: _attempt(asking, request), base_s=base_s, sleep=asking.context.sleep)
    except CallFailed as failure:
        return _outcome_of(failure, key, asking.context)
    except LedgerRefused as error:
        # At once: whoever was sent now would be answered, and its answer not be recorded.
        asking.context.halt(CallFailed(FailureClass.STOPPED, str(error)))
        raise


async def _attempt(asking: Asking, request: Request) -> Outcome:
    """The row's outcome, of its own call, of a provider batch or of another process's."""
    if request.key in asking.arrived and (outcome := await take_answer(asking, request)):
        return outcome
    while True:
        lane = await asking.lane(request.role)
        # Rows are prepared when their turn comes near: otherwise the first calls would wait for the last row's text.
        async with lane.window:
            asking.context.raise_if_halted()
            found = await (hand_over if is_packed(asking, request, lane) else _try)(asking, request, lane)
        if isinstance(found, Outcome):
            return found
        if found is NotOpened.IN_BATCH:
            return await find_waiting(asking, request.key)
        if found is NotOpened.SETTLED:
            return await find_outcome(asking, request.key, request.values)
        if found is NotOpened.ELSEWHERE:
            with asking.context.waiting():
                await asking.engine.elsewhere.wait(request.key)


async def _try(asking: Asking, request: Request, lane: Lane) -> Outcome | NotOpened | None:
    """
    Wait for the provider, open the attempt ahead of the slot, and hold the slot until the answer is on disk.

    None where nothing was sent because the provider has stopped answering meanwhile.
    """
    course = request.course
    if course.is_used_up:
        return leave(course)
    body = await request.encode(lane)
    with asking.context.waiting():
        pass_ = await lane.admit(body, course.max_tokens)
    try:
        try:
            sending = await open_sending(asking, request, lane, body)
        except OverBudget:
            if not asking.context.has_batches:
                raise
            return wait_for_money(asking.context)
        if isinstance(sending, NotOpened):
            return sending
        try:
            return await _use_slot(asking, request, sending, pass_)
        finally:
            asking.engine.money.abandon(sending.attempt_id)
    finally:
        lane.breaker.gave_up(pass_)


async def _use_slot(asking: Asking, request: Request, sending: Sending, pass_: Pass) -> Outcome | NotOpened | None:
    context, lane = asking.context, sending.lane
    with contextlib.suppress(RunHalted):
        async with lane.limiter.slot(context.waiting):
            if context.halted is None and lane.breaker.lets(pass_) and asking.engine.money.holds(sending.n_lapses):
                return await send(asking, request, sending, pass_)
    # The run stops, the provider has stopped answering since, or the lease was over: nothing was sent.
    await take_back(asking, request, sending)
    return None


def _outcome_of(failure: CallFailed, key: str, context: RunContext) -> Outcome:
    if failure.kind is FailureKind.HALT:
        context.halt(failure)
        raise RunHalted(str(failure)) from failure
    state = RowState.QUARANTINED if is_final(failure) else RowState.PENDING
    if state is RowState.PENDING and failure.retry_after_s:
        context.due[key] = time.time() + failure.retry_after_s
    rule = failure.rule if isinstance(failure, CheckFailed) else None
    return Outcome(state, None, failure.failure_class, rule, str(failure))
