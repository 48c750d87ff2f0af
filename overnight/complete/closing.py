"""What is written of an attempt when it ends, in one transaction with what follows from it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from overnight.failures import CallFailed, FailureClass, FailureKind
from overnight.ledger.attempts import Closing, Refusal
from overnight.ledger.bodies import pack_body
from overnight.records import Reply


class CheckFailed(CallFailed):
    """The answer was understood, and a row check refused it."""

    def __init__(self, rule: str, reason: str, reply: Reply, output: str) -> None:
        super().__init__(FailureClass.CHECK_FAILED, reason, reply=reply)
        self.rule = rule
        self.output = output


@dataclass(frozen=True)
class Call:
    """An attempt that was sent, and what it took."""

    attempt_id: int
    key: str
    cost_usd: float | None
    latency_s: float


def accepted_closing(call: Call, reply: Reply, output: str) -> Closing:
    """How an attempt ended whose answer, as canonical JSON, was accepted."""
    return Closing(
        **vars(call), closed_at=time.time(), outcome="accepted", reply=reply, body=pack_body(reply.body), output=output
    )


def failed_closing(call: Call, failure: CallFailed) -> Closing:
    """How an attempt ended that gave no answer to use; one that is refused for good is remembered."""
    return Closing(
        **vars(call),
        closed_at=time.time(),
        outcome="failed",
        failure_class=failure.failure_class,
        message=str(failure),
        reply=failure.reply,
        body=pack_body(failure.reply.body) if failure.reply else None,
        refusal=_refusal(call, failure) if failure.kind is FailureKind.QUARANTINE else None,
    )


def _refusal(call: Call, failure: CallFailed) -> Refusal:
    rule, output = (failure.rule, failure.output) if isinstance(failure, CheckFailed) else (None, None)
    return Refusal(call.attempt_id, failure.failure_class, rule, str(failure), output)
