"""The course of one row: what is asked next after each failure, out of the table of treatments; bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

from overnight.failures import CallFailed
from overnight.ledger.sends import Sends
from overnight.llm import DEFAULT_MAX_TOKENS, MAX_WAIT_S
from overnight.records import Ask, Correction, Prompt
from overnight.taxonomy import MAX_ATTEMPTS, MAX_PASSES, TREATMENTS, FailureClass, FailureKind, Step

#: Which of the prompt's models is asked.
Role = Literal["own", "stronger", "fallback"]

#: Ways of asking again that one row is given in one run, whatever it fails with.
MAX_REPAIRS = 4
#: Characters of a wrong answer that the model is shown again.
_SHOWN = 4000

_ROLES: dict[Step, Role] = {Step.STRONGER: "stronger", Step.FALLBACK: "fallback"}
_IN_TRANSIT = {c for c, t in TREATMENTS.items() if t.kind is FailureKind.RETRY} | {"open"}
_AGAIN = " Answer again with one JSON object that fits the schema, and nothing else."


class Course:
    """
    What a row is asked next, and how often yet.

    Args:
        prompt: Which models and which limit it may turn to.
        ask: The first question.
        sends: What this run has sent for the row before.
    """

    def __init__(self, prompt: Prompt, ask: Ask, sends: Sends) -> None:
        self.ask = ask
        self.role: Role = "own"
        #: Why the next send is made, for the record.
        self.cause = "first"
        #: Whether its last answer did not do, so that it is asked otherwise.
        self.is_repair = False
        #: How often the run has sent it and nothing came back.
        self.n_lost = 0
        self._prompt = prompt
        self._used: Counter[str] = Counter()
        #: Its last failure: class and message.
        self.last: tuple[str, str] | None = sends.failures[-1] if sends.failures else None
        n_before = 0
        for failure_class, message in sends.failures:
            if failure_class in _IN_TRANSIT:
                n_before += 1
            else:
                # The row goes on where it was: with the model, the limit and the words that it had come to.
                self.take(CallFailed(FailureClass(failure_class), message))
        if sends.failures:
            self.cause = "again"
        self._n_left = min(MAX_ATTEMPTS, MAX_ATTEMPTS * MAX_PASSES - n_before)
        self.n_lost = n_before

    @property
    def is_used_up(self) -> bool:
        """Whether the run has sent the row as often as it may."""
        return self._n_left <= 0

    @property
    def max_tokens(self) -> int:
        """The limit of the next answer."""
        return int(self.ask.parameters.get("max_tokens", DEFAULT_MAX_TOKENS))

    def find_step(self, failure_class: FailureClass) -> Step | None:
        """The next way of asking again after this failure that is still open."""
        steps = TREATMENTS[failure_class].steps[self._used[failure_class] :]
        if self._used.total() >= MAX_REPAIRS:
            return None
        return next((step for step in steps if self._is_open(step)), None)

    def take(self, failure: CallFailed) -> None:
        """Decide whether the row goes on after a failure (`failure.goes_on`), and what is asked then."""
        kind, self.last = TREATMENTS[failure.failure_class].kind, (failure.failure_class, str(failure))
        # One that is lost in transit stays what it was.
        self.is_repair = self.is_repair if kind is FailureKind.RETRY else kind is FailureKind.REPAIR
        if kind is FailureKind.RETRY:
            self._n_left -= 1
            self.n_lost += 1
            self.cause = "again"
            asks_too_long = (failure.retry_after_s or 0.0) > MAX_WAIT_S
            failure.goes_on = self._n_left > 0 and failure.is_retried and not asks_too_long
        elif kind is FailureKind.REPAIR and (step := self.find_step(failure.failure_class)):
            self._used[failure.failure_class] = 1 + TREATMENTS[failure.failure_class].steps.index(
                step, self._used[failure.failure_class]
            )
            self._apply(step, failure)
            failure.goes_on = True

    def _is_open(self, step: Step) -> bool:
        if step is Step.RAISE_LIMIT:
            return self._raised() > self.max_tokens
        if step in _ROLES:
            return getattr(self._prompt, _ROLES[step]) is not None and self.role != _ROLES[step]
        return True

    def _raised(self) -> int:
        return min(2 * self.max_tokens, self._prompt.max_tokens_cap or 2 * self.max_tokens)

    def _apply(self, step: Step, failure: CallFailed) -> None:
        self.cause = step.name.lower()
        if step is Step.RAISE_LIMIT:
            self.ask = replace(self.ask, parameters={**self.ask.parameters, "max_tokens": self._raised()})
        elif step is Step.REASK:
            self.ask = replace(self.ask, correction=_correct(failure))
        elif step in _ROLES:
            # Another model starts from the question alone.
            self.role, self.ask = _ROLES[step], replace(self.ask, correction=None)


def _correct(failure: CallFailed) -> Correction:
    answer = failure.reply.text if failure.reply else None
    return Correction(answer[:_SHOWN] if answer else None, (failure.complaint or str(failure)) + _AGAIN)
