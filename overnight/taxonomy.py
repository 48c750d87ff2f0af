"""Every failure that is known, by what it is recognised by, what is done about it, and what it becomes if it stays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """What the caller does about a failure."""

    #: Send the same request again, after a wait.
    RETRY = "retry"
    #: Leave the row pending for a later pass.
    DEFER = "defer"
    #: Ask again, otherwise than before.
    REPAIR = "repair"
    #: Set the row aside under its reason; it is not sent again.
    QUARANTINE = "quarantine"
    #: Set the row aside, and hold the batch that it stands in.
    HOLD = "hold"
    #: Stop the run; it can be continued when the cause is gone.
    HALT = "halt"


class FailureClass(StrEnum):
    """The kind of evidence that a row or a call failed with."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    SPEND_LIMIT = "spend_limit"
    OVERLOAD = "overload"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    # Of requests in a provider batch.
    EXPIRED = "expired"
    CANCELED = "canceled"
    #: It is with the provider: no answer yet, and nobody asks it otherwise.
    IN_BATCH = "in_batch"
    #: It may be with the provider: a person has to say.
    IN_DOUBT = "in_doubt"
    TRUNCATED = "truncated"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content_filter"
    UNKNOWN_STOP = "unknown_stop"
    EMPTY = "empty"
    MALFORMED = "malformed"
    SCHEMA_INVALID = "schema_invalid"
    CHECK_FAILED = "check_failed"
    HEDGE = "hedge"
    ECHO = "echo"
    SAME_ANSWER = "same_answer"
    WRONG_MODEL = "wrong_model"
    BUDGET = "budget"
    #: Somebody stopped the run.
    STOPPED = "stopped"
    # Found at intake, before any call.
    UNDECODABLE = "undecodable"
    RAGGED_ROW = "ragged_row"
    EMPTY_ID = "empty_id"
    DUPLICATE_ID = "duplicate_id"
    MISSING_VALUE = "missing_value"
    #: The template fails on the row.
    UNRENDERABLE = "unrenderable"
    # Found by the checks on an accepted batch.
    BATCH_RULE = "batch_rule"


#: The rule, of class batch_rule, that sets aside what another run of the family has offered.
OFFERED_ELSEWHERE = "offered_elsewhere"


class Step(StrEnum):
    """One way of asking again."""

    SAME = "asked again"
    REASK = "asked again with what was wrong"
    RAISE_LIMIT = "asked again with max_tokens doubled, to the prompt's cap"
    STRONGER = "the stronger model, where the prompt declares one"
    FALLBACK = "the fallback model, where the prompt declares one"


@dataclass(frozen=True)
class Treatment:
    """What is done about one class of failure."""

    #: What it is recognised by.
    signal: str
    #: What is done first.
    kind: FailureKind
    #: What it becomes when that did not help.
    if_stays: FailureKind
    #: For REPAIR: the ways of asking again, in order, each once.
    steps: tuple[Step, ...] = ()
    #: Counts towards the circuit breaker.
    trips_breaker: bool = False
    #: Halves the calls in flight.
    slows: bool = False
    #: The call may have been billed although nothing came of it.
    may_be_billed: bool = False


#: Sends of a row in one pass that may fail in transit, and passes of a run: no more are made, whoever begins anew.
MAX_ATTEMPTS = 4
MAX_PASSES = 4
#: Of a request in a provider batch: a run sends it with batches as often as a pass sends another by itself.
_OF_BATCHES = (FailureClass.EXPIRED, FailureClass.CANCELED)
#: Rows that fail with the same bad request before the run halts.
MAX_SAME_BAD_REQUEST = 5


def _retry(signal: str, *, trips_breaker: bool = True, slows: bool = False, may_be_billed: bool = False) -> Treatment:
    return Treatment(
        signal,
        FailureKind.RETRY,
        FailureKind.DEFER,
        trips_breaker=trips_breaker,
        slows=slows,
        may_be_billed=may_be_billed,
    )


def _repair(signal: str, *steps: Step, if_stays: FailureKind = FailureKind.QUARANTINE) -> Treatment:
    return Treatment(signal, FailureKind.REPAIR, if_stays, steps)


def _quarantine(signal: str) -> Treatment:
    return Treatment(signal, FailureKind.QUARANTINE, FailureKind.QUARANTINE)


def _wait(signal: str) -> Treatment:
    return Treatment(signal, FailureKind.DEFER, FailureKind.DEFER)


def _halt(signal: str) -> Treatment:
    return Treatment(signal, FailureKind.HALT, FailureKind.HALT)


_REASKED = (Step.REASK, Step.REASK, Step.STRONGER)

#: The whole of it: docs/failures.md shows this table.
TREATMENTS: dict[FailureClass, Treatment] = {
    FailureClass.CONNECT: _retry("no connection, no such host, TLS fails"),
    FailureClass.TIMEOUT: _retry("no whole answer by the deadline, connection reset, body cut", may_be_billed=True),
    FailureClass.RATE_LIMIT: _retry("429", trips_breaker=False, slows=True),
    FailureClass.OVERLOAD: _retry("5xx, 408, 409, 529, a 200 that is not the provider's"),
    FailureClass.EXPIRED: _retry("the provider batch expired before it came to the request", trips_breaker=False),
    FailureClass.CANCELED: _retry("the provider batch was canceled before it came to the request", trips_breaker=False),
    FailureClass.IN_BATCH: _wait("it is in a provider batch that has not ended"),
    FailureClass.IN_DOUBT: _wait("it is in a provider batch of which nobody can tell whether it was received"),
    FailureClass.SPEND_LIMIT: _halt("402, insufficient_quota, enforced_spend_limit_reached, credit balance too low"),
    FailureClass.AUTH: _halt("401, 403, 404, 405, 410, a redirect"),
    FailureClass.WRONG_MODEL: _halt("the reply names another model than was asked for"),
    FailureClass.BUDGET: _halt("the worst price of the next call does not fit under a cap"),
    FailureClass.STOPPED: _halt("somebody stopped the run"),
    FailureClass.BAD_REQUEST: _quarantine("400, 422 and other 4xx"),
    FailureClass.TOO_LARGE: _quarantine("413, context length exceeded, a reply over 10 MB; intake: a row over 16 MB"),
    FailureClass.TRUNCATED: _repair("stop reason length or max_tokens", Step.RAISE_LIMIT),
    FailureClass.REFUSAL: _repair("stop reason refusal, message.refusal", Step.FALLBACK),
    FailureClass.CONTENT_FILTER: _quarantine("stop reason content_filter"),
    FailureClass.UNKNOWN_STOP: _quarantine("a stop reason that is not known"),
    FailureClass.EMPTY: _repair("no text", Step.SAME, Step.REASK),
    FailureClass.MALFORMED: _repair("not strict JSON: cut, a key twice, NaN, no object", *_REASKED),
    FailureClass.SCHEMA_INVALID: _repair("not of the output schema", *_REASKED),
    FailureClass.CHECK_FAILED: _repair("a row check", Step.REASK, Step.STRONGER),
    FailureClass.HEDGE: _repair("row check hedge: an apology or a doubt as a value", Step.REASK),
    FailureClass.ECHO: _repair("row check not_echo: the input again", Step.REASK),
    FailureClass.SAME_ANSWER: _repair(
        "row check distinct: one answer for too many inputs of a batch", Step.REASK, if_stays=FailureKind.HOLD
    ),
    FailureClass.UNDECODABLE: _quarantine("intake: not valid text, or not strict JSON"),
    FailureClass.RAGGED_ROW: _quarantine(
        "intake: more or fewer cells than columns; a JSON line that is no object or has a name twice"
    ),
    FailureClass.EMPTY_ID: _quarantine("intake: no id"),
    FailureClass.DUPLICATE_ID: _quarantine("intake: an id that an earlier row has"),
    FailureClass.MISSING_VALUE: _quarantine("intake: no value in a declared input"),
    FailureClass.UNRENDERABLE: _quarantine("the template fails on the row"),
    FailureClass.BATCH_RULE: _quarantine("an expectation about rows"),
}


def describe_action(failure_class: FailureClass) -> str:
    """What is done about it first, in words made of the data."""
    treatment = TREATMENTS[failure_class]
    if failure_class in _OF_BATCHES:
        return f"sent again with the next batch, {MAX_ATTEMPTS} times a run at most; online where the run is late"
    match treatment.kind:
        case FailureKind.RETRY:
            extra = "; calls in flight are halved" if treatment.slows else ""
            return f"sent again after a wait, {MAX_ATTEMPTS} times a pass, {MAX_PASSES} passes at most{extra}"
        case FailureKind.REPAIR:
            return ", then ".join(treatment.steps)
        case FailureKind.HALT:
            return "never sent again; the run stops"
        case FailureKind.DEFER:
            return "waited for, and not sent in another way meanwhile"
        case _:
            return "never sent again"
