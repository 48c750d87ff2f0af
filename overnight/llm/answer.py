"""From a reply to an answer: the stop reason, then strict JSON, then the schema; nothing is mended."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

import jsonschema_rs

from overnight.failures import CallFailed, PromptRefused
from overnight.keys import canonical_json
from overnight.llm.wire import one_line
from overnight.records import Reply
from overnight.taxonomy import FailureClass

MAX_ERRORS = 5

_FINE = {"stop", "end_turn", "stop_sequence"}
#: Keywords whose messages name properties, which the model has made up.
_NAMING = {"additionalProperties", "unevaluatedProperties"}
_CUT = {"length", "max_tokens", "model_context_window_exceeded"}


@dataclass(frozen=True)
class AnswerValidator:
    """A compiled output schema."""

    compiled: jsonschema_rs.Validator
    #: The same, without the answer's words in its messages.
    masked: jsonschema_rs.Validator
    #: Whether people may be told what stands in an answer.
    quotes: bool = True

    def find_errors(self, answer: Any) -> list[str]:
        """What is wrong with the answer, each with its path, for people; at most `MAX_ERRORS`."""
        if self.compiled.is_valid(answer):
            return []
        if not self.quotes:
            return self.find_complaints(answer)
        return [
            f"/{'/'.join(str(step) for step in error.instance_path)}: {one_line(error.message, 200)}"
            for error in islice(self.compiled.iter_errors(answer), MAX_ERRORS)
        ]

    def find_complaints(self, answer: Any) -> list[str]:
        """The same for the model, in words of the schema alone: what stands in an answer may come from a row."""
        return [_complain(error) for error in islice(self.masked.iter_errors(answer), MAX_ERRORS)]


def _complain(error: jsonschema_rs.ValidationError) -> str:
    steps = error.schema_path
    # A name that the schema does not have is the model's own.
    path = "/".join(str(step) if isinstance(step, int) or step in steps else "…" for step in error.instance_path)
    if steps and steps[-1] in _NAMING:
        return f"/{path}: it has properties that the schema does not know"
    if "propertyNames" in steps:
        return f"/{path}: it has a property whose name does not fit the schema"
    return f"/{path}: {one_line(error.message, 200)}"


def make_validator(schema_json: str, *, quotes: bool = True) -> AnswerValidator:
    """
    Compile an output schema; nothing it refers to is fetched.

    Args:
        schema_json: The schema.
        quotes: Whether people may be told what stands in an answer: not where any of it is private.

    Raises:
        PromptRefused: It is not a valid JSON schema of an object.
    """
    try:
        schema = json.loads(schema_json)
        if not isinstance(schema, dict):
            raise PromptRefused("output.schema.json is not a JSON object. Write a schema there.")
        compiled = jsonschema_rs.validator_for(schema, validate_formats=True, offline=True)
        masked = jsonschema_rs.validator_for(schema, validate_formats=True, offline=True, mask="your value")
        return AnswerValidator(compiled, masked, quotes)
    except (ValueError, RecursionError) as error:
        raise PromptRefused(f"output.schema.json is not a JSON schema: {one_line(str(error))}. Mend it.") from error


def parse_answer(reply: Reply, validator: AnswerValidator) -> dict[str, Any]:
    """
    The answer in a reply.

    Raises:
        CallFailed: Refusal, content filter, truncation, unknown stop, empty, malformed or schema-invalid.
    """
    _check_stop(reply)
    if not reply.text or not reply.text.strip():
        raise CallFailed(FailureClass.EMPTY, "The answer is empty.", reply=reply)
    answer = _parse_strictly(reply.text, reply)
    if errors := validator.find_errors(answer):
        complaint = f"Your answer does not fit the schema: {'; '.join(validator.find_complaints(answer))}."
        line = f"The answer does not fit the schema: {'; '.join(errors)}."
        raise CallFailed(FailureClass.SCHEMA_INVALID, line, reply=reply, complaint=complaint)
    return answer


def _check_stop(reply: Reply) -> None:
    stop = reply.stop_reason
    if stop == "refusal" or reply.refusal is not None:
        said = one_line(reply.refusal or "no reason given")
        raise CallFailed(FailureClass.REFUSAL, f"The model refused: {said}", reply=reply)
    if stop == "content_filter":
        raise CallFailed(FailureClass.CONTENT_FILTER, "The provider's content filter held the answer.", reply=reply)
    if stop in _CUT:
        raise CallFailed(
            FailureClass.TRUNCATED, f"The answer was cut off ({stop}). Raise max_tokens in prompt.md.", reply=reply
        )
    if stop not in _FINE:
        named = f"the reason {one_line(stop, 60)!r}" if stop else "no reason"
        raise CallFailed(FailureClass.UNKNOWN_STOP, f"The model stopped for {named}, which is unknown.", reply=reply)


def _parse_strictly(text: str, reply: Reply) -> dict[str, Any]:
    try:
        answer = json.loads(
            text, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant, parse_float=_read_float
        )
        # What has no canonical form cannot be recorded: lone surrogates, integers past 64 bits.
        canonical_json(answer)
    except (ValueError, TypeError, RecursionError) as error:
        raise _malformed(f"it is not strict JSON ({one_line(str(error), 160)})", reply) from error
    if not isinstance(answer, dict):
        raise _malformed(f"it is a JSON {type(answer).__name__}, not an object", reply)
    if _holds_nul(answer):
        raise _malformed("a text in it holds a NUL character", reply)
    return answer


def _malformed(why: str, reply: Reply) -> CallFailed:
    return CallFailed(FailureClass.MALFORMED, f"The answer is malformed: {why}.", reply=reply)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object names a key twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number in it is too large")
    return value


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(v) for key, v in value.items())
    return isinstance(value, list) and any(_holds_nul(v) for v in value)
