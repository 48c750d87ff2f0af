"""What is written of an attempt when it ends, in one transaction with what follows from it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from overnight.checks import RowFault
from overnight.failures import CallFailed
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing
from overnight.ledger.completions import Completion, Refusal
from overnight.ledger.spend import Cap
from overnight.records import Reply
from overnight.taxonomy import TREATMENTS, FailureKind

#: What a row is set aside for, for good.
_FINAL = {FailureKind.QUARANTINE, FailureKind.HOLD}


class CheckFailed(CallFailed):
    """The answer was understood, and a row check refused it."""

    def __init__(self, fault: RowFault, reply: Reply, output: str) -> None:
        super().__init__(fault.failure_class, fault.reason, reply=reply, complaint=fault.complaint)
        self.rule = fault.label
        self.output = output


@dataclass(frozen=True)
class Call:
    """An attempt that was sent, and what it took."""

    attempt_id: int
    key: str
    #: None where nobody said what it cost.
    cost_usd: float | None
    #: None where nobody knows.
    latency_s: float | None
    reserved_usd: float
    caps: tuple[Cap, ...]


def accepted_closing(call: Call, reply: Reply, completion: Completion) -> Closing:
    """How an attempt ended whose answer was accepted."""
    return Closing(
        **vars(call),
        closed_at=time.time(),
        outcome="accepted",
        reply=reply,
        body=make_body(reply.body),
        completion=completion,
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
        body=make_body(failure.reply.body) if failure.reply else None,
        refusal=_refusal(call, failure) if is_final(failure) else None,
    )


def is_final(failure: CallFailed) -> bool:
    """Whether the row is set aside for good."""
    return not failure.goes_on and TREATMENTS[failure.failure_class].if_stays in _FINAL


def _refusal(call: Call, failure: CallFailed) -> Refusal:
    rule, output = (failure.rule, failure.output) if isinstance(failure, CheckFailed) else (None, None)
    return Refusal(call.attempt_id, failure.failure_class, rule, str(failure), output)
