"""What is written of an attempt when it ends, in one transaction with what follows from it."""

from __future__ import annotations

import time

import sqlalchemy as sa

from overnight.failures import CallFailed, FailureClass, FailureKind
from overnight.ledger import attempts
from overnight.ledger.attempts import Closing, Refusal
from overnight.ledger.bodies import pack_body
from overnight.records import Reply


class CheckFailed(CallFailed):
    """The answer was understood, and a row check refused it."""

    def __init__(self, rule: str, reason: str, reply: Reply, output: str) -> None:
        super().__init__(FailureClass.CHECK_FAILED, reason, reply=reply)
        self.rule = rule
        self.output = output


def accepted_closing(reply: Reply, cost: float | None, latency_s: float) -> Closing:
    """How an attempt ended whose answer was accepted."""
    return Closing(time.time(), "accepted", latency_s=latency_s, reply=reply, body=pack_body(reply.body), cost_usd=cost)


def failed_closing(failure: CallFailed, cost: float | None, latency_s: float) -> Closing:
    """How an attempt ended that gave no answer to use."""
    return Closing(
        time.time(),
        "failed",
        latency_s=latency_s,
        failure_class=failure.failure_class,
        message=str(failure),
        reply=failure.reply,
        body=pack_body(failure.reply.body) if failure.reply else None,
        cost_usd=cost,
    )


def close_accepted(connection: sa.Connection, *, key: str, attempt_id: int, closing: Closing, output: str) -> None:
    """Close the attempt and make its answer the completion of the key."""
    attempts.close_attempt(connection, attempt_id, closing)
    attempts.accept(connection, key, attempt_id, output, closing.closed_at)


def close_failed(connection: sa.Connection, key: str, attempt_id: int, closing: Closing, failure: CallFailed) -> None:
    """Close the attempt; where the answer is refused for good, remember it."""
    attempts.close_attempt(connection, attempt_id, closing)
    if failure.kind is FailureKind.QUARANTINE:
        rule, output = (failure.rule, failure.output) if isinstance(failure, CheckFailed) else (None, None)
        refusal = Refusal(attempt_id, failure.failure_class, rule, str(failure), output)
        attempts.refuse(connection, key, refusal, closing.closed_at)
