"""Sending a recorded request again: each send recorded before it is made and after, its money set aside."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from http import HTTPStatus
from typing import Any

import orjson

from overnight.checks import Checks, parse_checks
from overnight.complete.hiding import hide_private
from overnight.complete.judge import judge_recorded, read_answer
from overnight.complete.money import OverBudget
from overnight.complete.recorded import Answer, Recorded
from overnight.failures import CallFailed, ModelRefused, PromptRefused
from overnight.keys import canonical_json
from overnight.ledger import Ledger
from overnight.ledger.bodies import make_body
from overnight.ledger.completions import Completion
from overnight.ledger.replays import ReplayClosing, ReplayOpening, close_replay, open_replay
from overnight.ledger.spend import Cap, night_scope
from overnight.llm import (
    DEFAULT_MAX_TOKENS,
    MAX_WAIT_S,
    AnswerValidator,
    Client,
    ModelRef,
    Rates,
    cost_usd,
    find_terms,
    keep_asking,
    make_client,
    make_validator,
    parse_model,
    worst_usd,
)
from overnight.masking import mask_secrets
from overnight.prompts import render
from overnight.records import Ask, ModelTerms, Prompt, Reply
from overnight.settings import Settings
from overnight.taxonomy import MAX_ATTEMPTS, TREATMENTS, FailureClass, FailureKind

#: Bytes of a request that make a token, for declared limits.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Resending:
    """Sends one request, as often as it is wanted."""

    recorded: Recorded
    #: What is asked: with its model, endpoint and hash.
    prompt: Prompt
    #: Whether the recorded bytes are sent; else the recorded input is put to the prompt.
    is_same: bool
    asked_by: str
    ledger: Ledger
    settings: Settings

    async def send_all(self, times: int) -> list[Answer]:
        """What came each time; what halts a run ends it here too."""
        client = await make_client(
            self._model, endpoint=self.prompt.endpoint, timeout_s=self.settings.call_timeout_s, concurrency=1
        )
        answers: list[Answer] = []
        try:
            body = self.recorded.body if self.is_same else self._encode(client)
            while len(answers) < times:
                answers.append(await self._ask(client, body))
                if answers[-1].kind is FailureKind.HALT:
                    break
        finally:
            await client.aclose()
        return answers

    def _encode(self, client: Client) -> bytes:
        given = {**dict.fromkeys(self.prompt.optional_inputs, ""), **self.recorded.given}
        system, user = render(self.prompt, given)
        return client.encode(Ask(system, user, orjson.loads(self.prompt.schema), self.prompt.parameters))

    async def _ask(self, client: Client, body: bytes) -> Answer:
        """Once, and again after a failure in transit; every send is a replay of its own."""
        n_left = MAX_ATTEMPTS

        async def send() -> Answer:
            nonlocal n_left
            n_left -= 1
            answer, failure = await self._send(client, body)
            if failure and n_left and _helps_to_resend(failure):
                failure.goes_on = True
                raise failure
            return replace(answer, n_sends=MAX_ATTEMPTS - n_left)

        return await keep_asking(send, base_s=self.settings.retry_base_s)

    async def _send(self, client: Client, body: bytes) -> tuple[Answer, CallFailed | None]:
        await self._rates.admit(len(body) // _BYTES_PER_TOKEN + self._max_tokens)
        opening = self._open(body)
        started = time.monotonic()
        try:
            reply = await client.send(body)
        except CallFailed as error:
            hide_private(error, self.prompt.private, self.recorded.given)
            closing = self._close(opening, started, error.reply, None, error)
            return _read_closing(closing), error
        output, failure = self._judge.judge(reply)
        return _read_closing(self._close(opening, started, reply, output, failure)), failure

    @property
    def _model(self) -> ModelRef:
        return parse_model(self.prompt.model)

    @property
    def _terms(self) -> ModelTerms | None:
        return find_terms(self.settings.terms, self.prompt.model)

    @cached_property
    def _rates(self) -> Rates:
        terms = self._terms
        return Rates(terms.requests_per_minute, terms.tokens_per_minute) if terms else Rates(None, None)

    @cached_property
    def _judge(self) -> _Judge:
        validator = make_validator(self.prompt.schema, quotes=not self.prompt.private)
        checks = replace(_read_checks(self.prompt), private=self.prompt.private)
        return _Judge(self._model, validator, checks, self.recorded.given)

    @property
    def _max_tokens(self) -> int:
        return int(self.prompt.parameters.get("max_tokens", DEFAULT_MAX_TOKENS))

    def _open(self, body: bytes) -> ReplayOpening:
        now = time.time()
        caps = (Cap(night_scope(now), self.settings.nightly_budget_usd),)
        worst = worst_usd(self._model, body, self._max_tokens, self._terms)
        if worst is None and self.settings.nightly_budget_usd is not None:
            raise ModelRefused(
                f"There is a nightly budget, but no price is known for {self._model}. Declare one in pyproject.toml"
                f' under [tool.overnight.models."{self._model}"], or unset OVERNIGHT_NIGHTLY_BUDGET_USD.'
            )
        opening = ReplayOpening(
            uuid.uuid4().hex, self.recorded.key, self.asked_by, self.prompt, make_body(body), now, worst or 0.0, caps
        )
        if short := self.ledger.write(lambda connection: open_replay(connection, opening)):
            raise OverBudget(short)
        return opening

    def _close(
        self,
        opening: ReplayOpening,
        started: float,
        reply: Reply | None,
        output: str | None,
        failure: CallFailed | None,
    ) -> ReplayClosing:
        closing = ReplayClosing(
            opening,
            closed_at=time.time(),
            latency_s=time.monotonic() - started,
            cost_usd=self._find_cost(reply, failure),
            reply=reply,
            output=output,
            failure_class=str(failure.failure_class) if failure else None,
            message=str(failure) if failure else None,
        )
        self.ledger.write(lambda connection: close_replay(connection, closing))
        return closing

    def _find_cost(self, reply: Reply | None, failure: CallFailed | None) -> float | None:
        """None where it may have been billed and nobody said how much."""
        if reply and reply.status == HTTPStatus.OK:
            return cost_usd(self._model, reply.usage, self._terms) if reply.usage.input_tokens else None
        return None if failure is None or TREATMENTS[failure.failure_class].may_be_billed else 0.0


@dataclass(frozen=True)
class _Judge:
    model: ModelRef
    validator: AnswerValidator
    checks: Checks
    given: Mapping[str, Any]

    def judge(self, reply: Reply) -> tuple[str | None, CallFailed | None]:
        """The answer as canonical JSON, where one was understood, and why it would not have been accepted."""
        try:
            answer = read_answer(reply, self.model, self.validator)
            # As `judge_reply` does: an answer that spelled a key in escapes has it here for the first time.
            output = mask_secrets(canonical_json(answer).decode())
        except CallFailed as failure:
            hide_private(failure, self.checks.private, self.given)
            return None, failure
        try:
            outcome = judge_recorded(self.checks, None, self.given, Completion(0, output))
        except PromptRefused as error:
            return output, CallFailed(FailureClass.CHECK_FAILED, str(error), reply=reply)
        if outcome.failure_class is None:
            return output, None
        return output, CallFailed(FailureClass(outcome.failure_class), outcome.reason or "", reply=reply)


def _read_checks(prompt: Prompt) -> Checks:
    """The prompt's row checks; without the project's own, where checks.py is not what it was."""
    try:
        return parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code)
    except PromptRefused:
        written = orjson.loads(prompt.checks)
        plain = [rule for rule in written["row"] if rule.get("rule") != "function"]
        return parse_checks(orjson.dumps(written | {"row": plain}).decode(), prompt=prompt.name)


def _helps_to_resend(failure: CallFailed) -> bool:
    return failure.kind is FailureKind.RETRY and failure.is_retried and (failure.retry_after_s or 0.0) <= MAX_WAIT_S


def _read_closing(closing: ReplayClosing) -> Answer:
    reply = closing.reply
    return Answer(
        output=orjson.loads(closing.output) if closing.output else None,
        failure_class=closing.failure_class,
        reason=closing.message,
        stop_reason=reply.stop_reason if reply else None,
        model_served=reply.model_served if reply else None,
        input_tokens=reply.usage.input_tokens if reply else None,
        output_tokens=reply.usage.output_tokens if reply else None,
        cost_usd=closing.cost_usd,
        latency_s=closing.latency_s,
        replay_id=closing.opening.replay_id,
    )
