"""Whether an answer is accepted: the model that gave it, its form, and the row checks; of recorded answers too."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.checks import BatchMemory, Checks, check_row
from overnight.complete.asking import Asking, Outcome
from overnight.complete.closing import CheckFailed
from overnight.complete.course import Course
from overnight.failures import CallFailed, PromptRefused
from overnight.keys import canonical_json
from overnight.ledger.completions import Completion, Refusal, find_completions, find_refusals
from overnight.llm import AnswerValidator, ModelRef, parse_answer
from overnight.masking import Veil, mask_secrets
from overnight.records import Reply, RowState
from overnight.taxonomy import FailureClass


def judge_reply(asking: Asking, values: Mapping[str, Any], course: Course, model: ModelRef, reply: Reply) -> str:
    """
    The accepted answer as canonical JSON.

    Raises:
        CallFailed: Another model answered, the answer is none, or a row check refuses it.
    """
    answer = read_answer(reply, model, asking.validator)
    # An answer that spelled a key in escapes of its own has it here for the first time.
    output = mask_secrets(canonical_json(answer).decode())
    try:
        fault = check_row(asking.checks.row, values, answer, asking.memory)
    except PromptRefused as error:
        # A check of the project's own is broken: no other row would fare better.
        raise CallFailed(FailureClass.STOPPED, str(error), reply=reply) from error
    # A soft fault is worth another question, and is let pass when there is none left to ask.
    if fault and not (fault.is_soft and course.find_step(fault.failure_class) is None):
        raise CheckFailed(fault, reply=reply, output=output)
    return output


def read_answer(reply: Reply, model: ModelRef, validator: AnswerValidator) -> dict[str, Any]:
    """
    The answer in a reply, before any row check.

    Raises:
        CallFailed: Another model answered, or the answer is none.
    """
    if reply.model_served and not _is_same(model.name, reply.model_served):
        line = f"{model.name} was asked for and {reply.model_served} answered. Name the model that is served."
        raise CallFailed(FailureClass.WRONG_MODEL, line, reply=reply)
    return parse_answer(reply, validator)


def _is_same(asked: str, served: str) -> bool:
    """Whether the served name is the asked one, but for a date or version: gpt-5-mini is not gpt-5."""
    rest = served.removeprefix(asked.removesuffix("-latest"))
    return rest != served and re.fullmatch(r"(-latest|:latest|[-@:]\d[\w.-]*)?", rest) is not None


def judge_recorded(checks: Checks, memory: BatchMemory | None, values: Mapping[str, Any], found: Completion) -> Outcome:
    """A recorded answer under today's row checks: a new rule costs no call."""
    if not checks.row:
        return Outcome(RowState.ACCEPTED, found.output, model=found.model)
    answer = orjson.loads(found.output)
    fault = check_row(checks.row, values, answer, memory)
    if fault is None or fault.is_soft:
        return Outcome(RowState.ACCEPTED, found.output, model=found.model)
    reason = Veil(checks.private, values, answer).hide_text(fault.reason)
    return Outcome(RowState.QUARANTINED, None, fault.failure_class, fault.label, reason)


def recall_refusal(refusal: Refusal) -> Outcome:
    """A request that was refused for good before."""
    return Outcome(RowState.QUARANTINED, None, refusal.failure_class, refusal.rule, refusal.reason)


async def find_outcome(asking: Asking, key: str, values: Mapping[str, Any]) -> Outcome:
    """What somebody else has had answered meanwhile, judged as any recorded answer is."""
    completion, refusal = await asyncio.to_thread(asking.engine.ledger.read, lambda connection: _find(connection, key))
    if completion:
        return judge_recorded(asking.checks, asking.memory, values, completion)
    assert refusal is not None, "an attempt is not opened only where an answer or a refusal stands"  # noqa: S101 - narrows the type
    return recall_refusal(refusal)


def _find(connection: sa.Connection, key: str) -> tuple[Completion | None, Refusal | None]:
    return find_completions(connection, [key]).get(key), find_refusals(connection, [key]).get(key)
