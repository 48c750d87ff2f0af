"""What was asked once and what came of it, as the ledger has it: the one half of a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.complete.resolve import resolve_prompt
from overnight.failures import OvernightError
from overnight.ledger.bodies import get_body
from overnight.ledger.replays import find_asking_run, find_purged_answer, find_recorded
from overnight.ledger.shadows import find_private_beside
from overnight.prompts import parse_prompt
from overnight.records import Prompt
from overnight.taxonomy import TREATMENTS, FailureClass, FailureKind

_NO_CHECKS = '{"row": [], "batch": []}'


@dataclass(frozen=True)
class Answer:
    """What a model said, or why it is none; None where nobody said."""

    #: Its fields, where one was understood.
    output: Mapping[str, Any] | None
    failure_class: str | None
    reason: str | None
    stop_reason: str | None
    model_served: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    latency_s: float | None
    #: Of an answer that came to a replay.
    replay_id: str | None = None
    #: How often it was sent until this came.
    n_sends: int = 1

    @property
    def kind(self) -> FailureKind | None:
        """What a run does about its failure."""
        return TREATMENTS[FailureClass(self.failure_class)].kind if self.failure_class else None


@dataclass(frozen=True)
class Recorded:
    """A request as it was asked first."""

    key: str
    prompt: Prompt
    given: Mapping[str, Any]
    #: The exact bytes.
    body: bytes
    answer: Answer
    #: Whether it has an answer, or a final refusal.
    is_settled: bool
    #: Why the attempt was made that the answer came of: "first", "again", or how it was asked otherwise.
    cause: str | None
    #: The model that gave it, where it is not the prompt's own.
    other_model: str | None
    #: The run whose row checks judge it; None: none that is known.
    checks_of: str | None
    #: Whose values are not shown, in its input and in any answer.
    private: frozenset[str]


def get_recorded(connection: sa.Connection, key: str, run_id: str | None = None) -> Recorded:
    """
    A request with all that a replay of it needs.

    Args:
        connection: To the ledger.
        key: The request's.
        run_id: Whose row checks judge it; None: of the newest run that asked the prompt.

    Raises:
        OvernightError: It was never asked, or its texts were purged.
        LedgerRefused: Its body is missing or altered.
    """
    found = find_recorded(connection, key)
    if found is None:
        raise OvernightError(f"No request {key[:12]} was ever asked. `overnight why ROW` has a row's request key.")
    if found["purged_at"] is not None or not found["input"]:
        raise _purged(connection, found)
    asking = find_asking_run(connection, found["prompt_hash"], run_id) or find_asking_run(
        connection, found["prompt_hash"], None
    )
    attempt = found["attempt"] or {}
    prompt = _read_prompt(found, asking or {})
    return Recorded(
        key=key,
        prompt=prompt,
        given=orjson.loads(found["input"]),
        body=get_body(connection, found["body"]),
        answer=_read_answer(found, attempt),
        is_settled=bool(found["output"] or found["failure_class"]),
        cause=attempt.get("cause"),
        other_model=attempt.get("model"),
        checks_of=asking["run_id"] if asking else None,
        private=find_private_beside(connection, found["prompt_hash"]).union(prompt.private),
    )


def _read_prompt(found: Mapping[str, Any], asking: Mapping[str, Any]) -> Prompt:
    checks, code = asking.get("checks", _NO_CHECKS), asking.get("code", "")
    prompt = parse_prompt(found["name"], text=found["text"], schema=found["schema"], checks=checks, code=code)
    return resolve_prompt(prompt, found["model"], endpoint=found["endpoint"])


def _read_answer(found: Mapping[str, Any], attempt: Mapping[str, Any]) -> Answer:
    is_answered = found["output"] is not None and found["failure_class"] is None
    return Answer(
        output=orjson.loads(found["output"]) if found["output"] else None,
        failure_class=None if is_answered else found["failure_class"] or attempt.get("failure_class"),
        reason=None if is_answered else found["reason"] or attempt.get("message"),
        stop_reason=attempt.get("stop_reason"),
        model_served=attempt.get("model_served"),
        input_tokens=attempt.get("input_tokens"),
        output_tokens=attempt.get("output_tokens"),
        cost_usd=attempt.get("cost_usd"),
        latency_s=attempt.get("latency_s"),
    )


def _purged(connection: sa.Connection, found: Mapping[str, Any]) -> OvernightError:
    left = find_purged_answer(connection, found["request_key"])
    at = f" on {_day(found['purged_at'])}" if found["purged_at"] else ""
    what = "its answer's digest" if left and left["output_digest"] else "no answer"
    if left and left["failure_class"]:
        what = f"that it was refused as {left['failure_class']}"
    return OvernightError(
        f"Request {found['request_key'][:12]} was purged{at}: its input and its bytes are gone, so it cannot be sent"
        f" again. What is left: its prompt ({found['name']}), what its attempts took, and {what}:"
        f" `overnight why {found['request_key'][:12]}`."
    )


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
