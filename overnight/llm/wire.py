"""From an ask to the exact bytes that are sent, and from received bytes to values of a known type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from overnight.failures import CallFailed, PromptRefused
from overnight.records import Ask, Reply
from overnight.taxonomy import FailureClass

DEFAULT_MAX_TOKENS = 512
#: Tokens of one call, at the most.
MOST_COUNTED = 2**31 - 1
#: What a request is made of: a prompt's parameters may not replace it.
_OURS = {"model", "messages", "system", "stream", "n", "response_format", "output_config", "max_completion_tokens"}

#: Keywords whose value maps names to schemas, is a list of schemas, or is data.
_NAMED = {"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"}
_DATA = {"enum", "const", "default", "examples", "required"}


def read_parameters(ask: Ask, defaults: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """
    The limit of output tokens, and the parameters that go to the provider unchanged.

    Raises:
        PromptRefused: A parameter would replace a part of the request that is ours.
    """
    parameters = {**defaults, **ask.parameters}
    if taken := _OURS & parameters.keys():
        raise PromptRefused(
            f"The prompt sets the parameter {min(taken)!r}, which overnight sets itself. Remove it from prompt.md."
        )
    return parameters.pop("max_tokens", DEFAULT_MAX_TOKENS), parameters


def list_turns(ask: Ask) -> list[dict[str, str]]:
    """The conversation after the system text: the question, and where it is asked again, what was wrong."""
    turns = [{"role": "user", "content": ask.user}]
    if ask.correction is None:
        return turns
    if ask.correction.answer and ask.correction.answer.strip():
        turns.append({"role": "assistant", "content": ask.correction.answer})
    return [*turns, {"role": "user", "content": ask.correction.complaint}]


def encode_body(body: dict[str, Any]) -> bytes:
    """
    The body's bytes; the order of fields is kept, because a model answers a schema in its order.

    Raises:
        CallFailed: A text is not valid Unicode; the row is to blame.
    """
    try:
        return orjson.dumps(body, default=dict)
    except TypeError as error:
        raise CallFailed(
            FailureClass.BAD_REQUEST, f"The request has no JSON form ({error}). Mend the row or the parameters."
        ) from error


class WireSchema:
    """
    The schema as a provider takes it, encoded once for a prompt.

    Args:
        dropped: Keywords the provider refuses. The client's own check keeps them.
        closed: Close every object (`additionalProperties: false`).
        all_required: List every property as required.
    """

    def __init__(self, *, dropped: frozenset[str] = frozenset(), closed: bool, all_required: bool) -> None:
        self._dropped = dropped
        self._closed = closed
        self._all_required = all_required
        self._seen: Mapping[str, Any] | None = None
        self._encoded = orjson.Fragment(b"")

    def encode(self, schema: Mapping[str, Any]) -> orjson.Fragment:
        """The bytes of the schema on the wire."""
        if schema is not self._seen:
            self._encoded = orjson.Fragment(orjson.dumps(self._convert(schema), default=dict))
            self._seen = schema
        return self._encoded

    def _convert(self, schema: Any) -> Any:
        if isinstance(schema, list | tuple):
            return [self._convert(s) for s in schema]
        if not isinstance(schema, Mapping):
            return schema
        wire = {k: self._convert_value(k, v) for k, v in schema.items() if k not in self._dropped}
        if isinstance(wire.get("properties"), dict):
            if self._closed:
                wire["additionalProperties"] = False
            if self._all_required:
                wire["required"] = list(wire["properties"])
        return wire

    def _convert_value(self, keyword: str, value: Any) -> Any:
        if keyword in _DATA:
            return value
        if keyword in _NAMED and isinstance(value, Mapping):
            return {name: self._convert(s) for name, s in value.items()}
        return self._convert(value)


def read_object(data: bytes | str) -> dict[str, Any]:
    """The JSON object in the bytes; empty where they hold none."""
    try:
        return as_object(orjson.loads(data))
    except orjson.JSONDecodeError:
        # It may still hold what orjson refuses and Python takes: a lone surrogate, another encoding, NaN.
        return _read_loosely(data)


def _read_loosely(data: bytes | str) -> dict[str, Any]:
    try:
        return as_object(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def as_object(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str | None:
    """The value where it is a text; a lone surrogate becomes its JSON escape, so that the text has a UTF-8 form."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def as_count(value: Any) -> int:
    """The value where it is a count, else 0; more than a database's integer holds is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_COUNTED else 0


def one_line(text: str, limit: int = 300) -> str:
    """The text without line breaks or control characters, cut to `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[:limit]}…"


def misshapen(who: str, reply: Reply, wanted: str) -> CallFailed:
    """The failure of a 200 that is not what the provider's API promises."""
    found = one_line(reply.body[:2000].decode("utf-8", "replace"), 120)
    return CallFailed(
        FailureClass.OVERLOAD,
        f"{who} answered 200 with a body that is not {wanted}: {found!r}. If it stays, check the base URL.",
        reply=reply,
    )
