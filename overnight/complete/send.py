"""One send of a request: opened with its money set aside, sent, and closed with what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from overnight.complete.asking import Asking, Outcome
from overnight.complete.closing import Call, accepted_closing, failed_closing
from overnight.complete.hiding import hide_private
from overnight.complete.judge import judge_reply
from overnight.complete.lane import Lane
from overnight.complete.request import Request
from overnight.complete.watch import watching_send
from overnight.failpoints import reach
from overnight.failures import CallFailed
from overnight.ledger.attempts import NotOpened, Opening
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing
from overnight.ledger.completions import Completion
from overnight.ledger.spend import Cap, night_scope
from overnight.llm import Pass
from overnight.records import Mode, Reply, RowState
from overnight.taxonomy import FailureClass, FailureKind


@dataclass(frozen=True)
class Sending:
    """An open attempt, and what is set aside for it."""

    attempt_id: int
    lane: Lane
    body: bytes
    caps: tuple[Cap, ...]
    reserved_usd: float
    #: How often the worker's lease had lapsed when it was opened.
    n_lapses: int
    #: At whose prices.
    mode: Mode = Mode.ONLINE
    #: Where another model than the prompt's is asked.
    model: str | None = None


async def open_sending(asking: Asking, request: Request, lane: Lane, body: bytes) -> Sending | NotOpened:
    """
    Claim the request and set the worst price of the send aside.

    Raises:
        CallFailed: A cap leaves no room for it, or there is a cap and no price.
        RunHalted: The run stops while it waits for money.
    """
    opening = make_opening(asking, request, lane, body, Mode.ONLINE)
    money = asking.engine.money
    n_lapses, opened = money.n_lapses, await money.open(opening, asking.context)
    if isinstance(opened, NotOpened):
        return opened
    return Sending(opened, lane, body, opening.caps, opening.reserved_usd, n_lapses, model=opening.model)


def make_opening(asking: Asking, request: Request, lane: Lane, body: bytes, mode: Mode) -> Opening:
    """
    What is recorded before the body is sent.

    Raises:
        CallFailed: There is a cap and no price.
    """
    now = time.time()
    caps = (asking.context.cap, Cap(night_scope(now), asking.engine.settings.nightly_budget_usd))
    # Without a cap too: another run, or this one continued, may have one that covers this call.
    worst = lane.worst_usd(body, request.course.max_tokens, mode=mode)
    if worst is None and any(cap.usd is not None for cap in caps):
        line = f"There is a budget, but no price is known for {lane.model}. Declare one in pyproject.toml, or set none."
        raise CallFailed(FailureClass.BUDGET, line)
    other = request.course.role != "own"
    return Opening(
        key=request.key,
        prompt_hash=asking.prompt.prompt_hash,
        input_json=request.input_json,
        body=request.body,
        run_id=asking.context.run_id,
        opened_at=now,
        reserved_usd=worst or 0.0,
        caps=caps,
        cause=request.course.cause,
        sent=make_body(body) if request.is_other(body) else None,
        model=str(lane.model) if other else None,
        endpoint=lane.endpoint if other else None,
    )


async def take_back(asking: Asking, request: Request, sending: Sending) -> None:
    """Close an attempt that was not sent after all: it costs nothing, and the request is free."""
    at, caps = time.time(), sending.caps
    closing = Closing(sending.attempt_id, request.key, at, "unsent", reserved_usd=sending.reserved_usd, caps=caps)
    await asking.engine.money.close(closing)


async def send(asking: Asking, request: Request, sending: Sending, pass_: Pass) -> Outcome | NotOpened:
    """
    Send, and record what came of it; ELSEWHERE where another worker has taken the request over meanwhile.

    Raises:
        CallFailed: There is no answer to accept.
    """
    asking.context.progress.calls += 1
    started = time.monotonic()

    async def ask() -> tuple[Reply, str]:
        with watching_send(asking, request, sending.lane, sending.attempt_id, sending.body) as take:
            reply = await sending.lane.send(sending.body, pass_)
            take(reply)
            return reply, judge_reply(asking, request.values, request.course, sending.lane.model, reply)

    reach("before-send")
    return await settle(asking, request, sending, ask, latency=lambda: time.monotonic() - started)


async def settle(
    asking: Asking,
    request: Request,
    sending: Sending,
    get_answer: Callable[[], Awaitable[tuple[Reply, str]]],
    *,
    latency: Callable[[], float | None],
) -> Outcome | NotOpened:
    """
    Record what an attempt came to, and what follows; ELSEWHERE where another worker has taken the request over.

    Args:
        asking: What the request shares with others.
        request: What was asked.
        sending: The attempt.
        get_answer: The reply, and the answer in it, judged.
        latency: How long the provider took, in seconds; None where nobody knows.

    Raises:
        CallFailed: There is no answer to accept.
    """
    context, money, lane = asking.context, asking.engine.money, sending.lane

    def end(cost_usd: float | None) -> Call:
        return Call(sending.attempt_id, request.key, cost_usd, latency(), sending.reserved_usd, sending.caps)

    try:
        reply, output = await get_answer()
    except CallFailed as failure:
        hide_private(failure, asking.checks.private, request.values)
        request.course.take(failure)
        if failure.kind is FailureKind.HALT:
            context.halt(failure)  # at once: while its end is recorded, nobody else is sent
        cost_usd = lane.failed_cost_usd(failure, mode=sending.mode)
        stands = await money.close(failed_closing(end(cost_usd), failure))
        if not stands and failure.kind is not FailureKind.HALT:
            return NotOpened.ELSEWHERE
        if failure.failure_class is FailureClass.BAD_REQUEST:
            context.count_bad_request(request.key, failure)
        raise
    reach("after-send")
    completion = Completion(sending.attempt_id, output, sending.model)
    if not await money.close(accepted_closing(end(lane.cost_usd(reply, mode=sending.mode)), reply, completion)):
        return NotOpened.ELSEWHERE
    context.n_accepted += 1
    return Outcome(RowState.ACCEPTED, output, model=sending.model)
