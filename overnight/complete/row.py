"""One row: asked until it has an answer, or a reason why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from overnight.checks import Checks, check_row
from overnight.complete.closing import Call, CheckFailed, accepted_closing, failed_closing
from overnight.complete.engine import Engine, RunContext
from overnight.failures import CallFailed, FailureClass, FailureKind, PromptRefused, RunHalted
from overnight.keys import canonical_json
from overnight.ledger.attempts import (
    Closing,
    Opening,
    close_attempts,
    find_completions,
    find_refusals,
    open_attempts,
)
from overnight.ledger.bodies import Body, pack_body
from overnight.llm import (
    DEFAULT_MAX_TOKENS,
    AnswerValidator,
    Client,
    cost_usd,
    parse_answer,
    parse_model,
    retrying,
    worst_usd,
)
from overnight.prompts import render
from overnight.records import Ask, Prompt, Reply, RowState


@dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    state: RowState
    #: The accepted answer as canonical JSON.
    output: str | None = None
    failure_class: str | None = None
    rule: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Asking:
    """What the requests of one batch share."""

    engine: Engine
    context: RunContext
    prompt: Prompt
    checks: Checks
    validator: AnswerValidator
    schema: Mapping[str, Any]
    client: Client


@dataclass(frozen=True)
class _Sending:
    key: str
    input_json: str
    values: Mapping[str, Any]
    body: bytes
    packed: Body


async def ask_row(asking: Asking, key: str, input_json: str, values: Mapping[str, Any]) -> Outcome:
    """
    Send the row's request until it is answered, refused for good, or left for a later pass.

    Raises:
        RunHalted: The run stops; the row is as it was.
    """
    try:
        system, user = render(asking.prompt, values)
    except PromptRefused as error:
        # The template fails on this row alone: nothing was sent, so nothing is remembered.
        return Outcome(RowState.QUARANTINED, None, FailureClass.UNRENDERABLE, None, str(error))
    body = asking.client.encode(Ask(system, user, asking.schema, asking.prompt.parameters))
    sending = _Sending(key, input_json, values, body, pack_body(body))
    try:
        async for attempt in retrying(base_s=asking.engine.settings.retry_base_s):
            with attempt:
                return await _attempt(asking, sending)
    except CallFailed as failure:
        return _outcome_of(failure, asking.context)
    raise AssertionError("the retry loop ends by an outcome or an error")


async def _attempt(asking: Asking, sending: _Sending) -> Outcome:
    """Open the attempt ahead of the slot; hold the slot until the answer is on disk."""
    engine = asking.engine
    async with engine.window:
        _raise_if_halted(asking.context)
        worst = _worst_usd(asking, sending) if asking.context.budget.cap_usd is not None else None
        attempt_id = await _open(asking, sending, worst)
        if attempt_id is None:
            return _find_outcome(asking, sending)
        async with engine.limiter_of(asking.prompt).slot():
            return await _send(asking, sending, attempt_id, worst)


async def _send(asking: Asking, sending: _Sending, attempt_id: int, worst: float | None) -> Outcome:
    budget, model = asking.context.budget, parse_model(asking.prompt.model)
    try:
        _raise_if_halted(asking.context)
        budget.reserve(worst)
    except (CallFailed, RunHalted):
        await _close(asking, Closing(attempt_id, sending.key, time.time(), "unsent"))
        raise
    asking.context.progress.calls += 1
    started = time.monotonic()
    cost: float | None = None
    try:
        reply = await asking.client.send(sending.body)
        # Where the provider counts no tokens the price is unknown, not nothing.
        cost = cost_usd(model, reply.usage) if reply.usage.input_tokens else None
        output = _judge(asking, sending, reply)
    except CallFailed as failure:
        cost = _cost_of(failure, asking)
        call = Call(attempt_id, sending.key, cost, time.monotonic() - started)
        await _close(asking, failed_closing(call, failure))
        raise
    else:
        call = Call(attempt_id, sending.key, cost, time.monotonic() - started)
        await _close(asking, accepted_closing(call, reply, output))
        return Outcome(RowState.ACCEPTED, output)
    finally:
        budget.settle(worst, cost)


def _judge(asking: Asking, sending: _Sending, reply: Reply) -> str:
    asked = parse_model(asking.prompt.model).name
    if reply.model_served and not reply.model_served.startswith(asked.removesuffix("-latest")):
        line = f"{asked} was asked for and {reply.model_served} answered. Name the model that is served, or another."
        raise CallFailed(FailureClass.WRONG_MODEL, line, reply=reply)
    answer = parse_answer(reply, asking.validator)
    output = canonical_json(answer).decode()
    if failed := check_row(asking.checks.row, sending.values, answer):
        raise CheckFailed(*failed, reply=reply, output=output)
    return output


def _worst_usd(asking: Asking, sending: _Sending) -> float | None:
    max_tokens = int(asking.prompt.parameters.get("max_tokens", DEFAULT_MAX_TOKENS))
    return worst_usd(parse_model(asking.prompt.model), sending.body, max_tokens)


def _cost_of(failure: CallFailed, asking: Asking) -> float | None:
    """What a failed call cost; None where it may have been billed and nobody said how much."""
    if failure.reply and failure.reply.usage.input_tokens:
        return cost_usd(parse_model(asking.prompt.model), failure.reply.usage)
    return None if failure.failure_class is FailureClass.TIMEOUT else 0.0


def _outcome_of(failure: CallFailed, context: RunContext) -> Outcome:
    if failure.kind is FailureKind.HALT:
        context.halted = context.halted or failure
        raise RunHalted(str(failure)) from failure
    state = RowState.QUARANTINED if failure.kind is FailureKind.QUARANTINE else RowState.PENDING
    rule = failure.rule if isinstance(failure, CheckFailed) else None
    return Outcome(state, None, failure.failure_class, rule, str(failure))


def _raise_if_halted(context: RunContext) -> None:
    if context.halted:
        raise RunHalted(str(context.halted))


async def _open(asking: Asking, sending: _Sending, worst: float | None) -> int | None:
    """The attempt's id; None where another batch, or process, has had it answered since the batch's look-up."""
    opening = Opening(
        key=sending.key,
        prompt_hash=asking.prompt.prompt_hash,
        input_json=sending.input_json,
        body=sending.packed,
        run_id=asking.context.run_id,
        opened_at=time.time(),
        reserved_usd=worst,
    )
    return await asyncio.wrap_future(asking.engine.ledger.submit_each(open_attempts, opening))


async def _close(asking: Asking, closing: Closing) -> None:
    """Wait until the end of the attempt is on disk."""
    await asyncio.wrap_future(asking.engine.ledger.submit_each(close_attempts, closing))


def _find_outcome(asking: Asking, sending: _Sending) -> Outcome:
    """What somebody else has had answered meanwhile, judged as any recorded answer is."""
    with asking.engine.ledger.reading() as connection:
        completion = find_completions(connection, [sending.key]).get(sending.key)
        refusal = find_refusals(connection, [sending.key]).get(sending.key)
    if completion:
        return judge_recorded(asking.checks, sending.values, completion.output)
    assert refusal is not None, "an attempt is not opened only where an answer or a refusal stands"  # noqa: S101 - narrows the type
    return Outcome(RowState.QUARANTINED, None, refusal.failure_class, refusal.rule, refusal.reason)


def judge_recorded(checks: Checks, values: Mapping[str, Any], output: str) -> Outcome:
    """A recorded answer under today's row checks: a new rule costs no call."""
    if failed := check_row(checks.row, values, orjson.loads(output)):
        return Outcome(RowState.QUARANTINED, None, FailureClass.CHECK_FAILED, *failed)
    return Outcome(RowState.ACCEPTED, output)
