"""One row: asked until it has an answer, or a reason why not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from overnight.complete.asking import Asking, Outcome
from overnight.complete.closing import Call, CheckFailed, accepted_closing, failed_closing, is_final
from overnight.complete.context import RunContext
from overnight.complete.course import Course
from overnight.complete.judge import find_outcome, judge_reply
from overnight.complete.lane import Lane
from overnight.failpoints import reach
from overnight.failures import CallFailed, PromptRefused, RunHalted
from overnight.ledger.attempts import NotOpened, Opening
from overnight.ledger.bodies import Body, pack_body
from overnight.ledger.closings import Closing
from overnight.ledger.completions import Completion
from overnight.ledger.sends import Sends
from overnight.ledger.spend import Cap, night_scope
from overnight.llm import Pass, retrying
from overnight.prompts import render
from overnight.records import Ask, RowState
from overnight.taxonomy import TREATMENTS, FailureClass, FailureKind


@dataclass(frozen=True)
class _Row:
    key: str
    input_json: str
    values: Mapping[str, Any]
    #: The request as it is first asked.
    question: Ask
    raw: bytes
    body: Body
    course: Course


@dataclass(frozen=True)
class _Sending:
    """One send of a row, with what is set aside for it."""

    lane: Lane
    body: bytes
    max_tokens: int
    caps: tuple[Cap, ...]
    reserved_usd: float


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
    """
    try:
        system, user = render(asking.prompt, values)
    except PromptRefused as error:
        # The template fails on this row alone: nothing was sent, so nothing is remembered.
        return Outcome(RowState.QUARANTINED, None, FailureClass.UNRENDERABLE, None, str(error))
    question = Ask(system, user, asking.schema, asking.prompt.parameters)
    course = Course(asking.prompt, question, sends)
    if course.is_used_up:
        failure_class, message = sends.failures[-1]
        failure_class = FailureClass.TIMEOUT if failure_class == "open" else failure_class
        return Outcome(RowState.PENDING, None, failure_class, None, message)
    try:
        raw = (await asking.lane("own")).client.encode(question)
        row = _Row(key, input_json, values, question, raw, pack_body(raw), course)
        async for attempt in retrying(base_s=asking.engine.settings.retry_base_s, sleep=asking.context.sleep):
            with attempt:
                return await _attempt(asking, row)
    except CallFailed as failure:
        return _outcome_of(failure, key, asking.context)
    raise AssertionError("the retry loop ends by an outcome or an error")


async def _attempt(asking: Asking, row: _Row) -> Outcome:
    """The row's outcome, of its own call or of another process's."""
    sending = await _prepare(asking, row)
    while True:
        found = await _try(asking, row, sending)
        if isinstance(found, Outcome):
            return found
        if found is NotOpened.SETTLED:
            return await find_outcome(asking, row.key, row.values)
        if found is NotOpened.ELSEWHERE:
            with asking.context.waiting():
                await asking.engine.elsewhere.wait(row.key)


async def _try(asking: Asking, row: _Row, sending: _Sending) -> Outcome | NotOpened | None:
    """
    Wait for the provider, open the attempt ahead of the slot, and hold the slot until the answer is on disk.

    None where nothing was sent because the provider has stopped answering meanwhile.
    """
    context, engine = asking.context, asking.engine
    with context.waiting():
        pass_ = await sending.lane.admit(sending.body, sending.max_tokens)
    try:
        async with engine.window:
            context.raise_if_halted()
            opened = await engine.money.open(_opening(asking, row, sending), context)
            if isinstance(opened, NotOpened):
                return opened
            try:
                return await _use_slot(asking, row, sending, opened, pass_)
            finally:
                engine.money.abandon(opened)
    finally:
        sending.lane.breaker.gave_up(pass_)


async def _use_slot(
    asking: Asking, row: _Row, sending: _Sending, attempt_id: int, pass_: Pass
) -> Outcome | NotOpened | None:
    context, lane = asking.context, sending.lane
    with contextlib.suppress(RunHalted):
        async with lane.limiter.slot(context.waiting):
            if not context.halted and lane.breaker.lets(pass_):
                return await _send(asking, row, sending, attempt_id, pass_)
    # The run stops, or the provider has stopped answering since: nothing was sent.
    await asking.engine.money.close(_unsent(row, sending, attempt_id))
    return None


async def _prepare(asking: Asking, row: _Row) -> _Sending:
    lane, course, now = await asking.lane(row.course.role), row.course, time.time()
    settings = asking.engine.settings
    caps = (asking.context.cap, Cap(night_scope(now), settings.nightly_budget_usd))
    is_first = course.role == "own" and course.ask is row.question
    body = row.raw if is_first else lane.client.encode(course.ask)
    # Without a cap too: another run, or this one continued, may have one that covers this call.
    worst = lane.worst_usd(body, course.max_tokens)
    if worst is None and any(cap.usd is not None for cap in caps):
        line = f"There is a budget, but no price is known for {lane.model}. Declare one in pyproject.toml, or set none."
        raise CallFailed(FailureClass.BUDGET, line)
    return _Sending(lane, body, course.max_tokens, caps, worst or 0.0)


def _opening(asking: Asking, row: _Row, sending: _Sending) -> Opening:
    other = row.course.role != "own"
    return Opening(
        key=row.key,
        prompt_hash=asking.prompt.prompt_hash,
        input_json=row.input_json,
        body=row.body,
        run_id=asking.context.run_id,
        opened_at=time.time(),
        reserved_usd=sending.reserved_usd,
        caps=sending.caps,
        cause=row.course.cause,
        sent=pack_body(sending.body) if sending.body != row.raw else None,
        model=str(sending.lane.model) if other else None,
        endpoint=sending.lane.endpoint if other else None,
    )


def _unsent(row: _Row, sending: _Sending, attempt_id: int) -> Closing:
    return Closing(attempt_id, row.key, time.time(), "unsent", reserved_usd=sending.reserved_usd, caps=sending.caps)


async def _send(asking: Asking, row: _Row, sending: _Sending, attempt_id: int, pass_: Pass) -> Outcome | NotOpened:
    """Send, and record what came of it; ELSEWHERE where another worker has taken the request over meanwhile."""
    context, engine = asking.context, asking.engine
    context.progress.calls += 1
    started = time.monotonic()

    def end(cost_usd: float | None) -> Call:
        took_s = time.monotonic() - started
        return Call(attempt_id, row.key, cost_usd, took_s, sending.reserved_usd, sending.caps)

    reach("before-send")
    try:
        reply = await sending.lane.send(sending.body, pass_)
        output = judge_reply(asking, row.values, row.course, sending.lane.model, reply)
    except CallFailed as failure:
        row.course.take(failure)
        if failure.kind is FailureKind.HALT:
            context.halt(failure)  # at once: while its end is recorded, nobody else is sent
        stands = await engine.money.close(failed_closing(end(_cost_of(failure, sending.lane)), failure))
        if not stands and failure.kind is not FailureKind.HALT:
            return NotOpened.ELSEWHERE
        if failure.failure_class is FailureClass.BAD_REQUEST:
            context.count_bad_request(row.key, failure)
        raise
    reach("after-send")
    model = str(sending.lane.model) if row.course.role != "own" else None
    completion = Completion(attempt_id, output, model)
    if not await engine.money.close(accepted_closing(end(sending.lane.cost_usd(reply)), reply, completion)):
        return NotOpened.ELSEWHERE
    context.n_accepted += 1
    return Outcome(RowState.ACCEPTED, output, model=model)


def _cost_of(failure: CallFailed, lane: Lane) -> float | None:
    """What a failed call cost; None where it may have been billed and nobody said how much."""
    if failure.reply and failure.reply.status == HTTPStatus.OK:
        return lane.cost_usd(failure.reply)
    return None if TREATMENTS[failure.failure_class].may_be_billed else 0.0


def _outcome_of(failure: CallFailed, key: str, context: RunContext) -> Outcome:
    if failure.kind is FailureKind.HALT:
        context.halt(failure)
        raise RunHalted(str(failure)) from failure
    state = RowState.QUARANTINED if is_final(failure) else RowState.PENDING
    if state is RowState.PENDING and failure.retry_after_s:
        context.due[key] = time.time() + failure.retry_after_s
    rule = failure.rule if isinstance(failure, CheckFailed) else None
    return Outcome(state, None, failure.failure_class, rule, str(failure))
