"""What a fake provider answers: scripted responses in the shapes of both APIs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.instances import make_instance


@dataclass(frozen=True)
class Call:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Any
    raw: bytes
    #: Seconds since the epoch.
    time: float
    #: Names the connection it came on.
    client_port: int


@dataclass(frozen=True)
class Scripted:
    """A response with any misbehaviour; what is not set is as a good answer has it."""

    status: int = 200
    #: Replaces the whole body; a dict is sent as JSON.
    body: bytes | str | dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    #: Cut the connection before any answer.
    drop: bool = False
    #: Cut the connection after so many bytes of the body, of which all were promised.
    cut_at: int | None = None
    #: Send the body a byte at a time, so many seconds apart.
    drip: float | None = None
    text: str | None = None
    reasoning: str | None = None
    #: The provider's own word: finish_reason or stop_reason; "" sends null.
    finish_reason: str | None = None
    #: message.refusal, or the explanation in stop_details.
    refusal: str | None = None
    model: str | None = None
    #: Replaces the usage object.
    usage: dict[str, Any] | None = None


Answered = dict[str, Any] | Scripted
Answering = Callable[[dict[str, Any]], Answered | Awaitable[Answered]]


def answer_by_schema(body: dict[str, Any]) -> dict[str, Any]:
    """The least answer that fits the schema of the request."""
    return dict(make_instance(_find_schema(body), _find_user_text(body)) or {})


def encode_answer(scripted: Scripted, path: str, asked: dict[str, Any]) -> bytes:
    """The bytes of a response to a body that was sent to a path."""
    body = scripted.body
    if body is None:
        shape = _anthropic_body if path.endswith("/messages") else _openai_body
        body = shape(scripted, asked, scripted.text or json.dumps(answer_by_schema(asked)))
    if isinstance(body, dict):
        body = json.dumps(body)
    return body.encode() if isinstance(body, str) else body


def _openai_body(scripted: Scripted, asked: dict[str, Any], text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": None if scripted.refusal else text, "refusal": scripted.refusal}
    if scripted.reasoning:
        message["reasoning_content"] = scripted.reasoning
    reason = "stop" if scripted.finish_reason is None else scripted.finish_reason or None
    n_in, n_out = len(json.dumps(asked)) // 4, len(text) // 4 + 1
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": scripted.model or asked["model"],
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": scripted.usage or {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out},
    }


def _anthropic_body(scripted: Scripted, asked: dict[str, Any], text: str) -> dict[str, Any]:
    thinking = [{"type": "thinking", "thinking": scripted.reasoning, "signature": ""}] if scripted.reasoning else []
    good = "refusal" if scripted.refusal else "end_turn"
    reason = good if scripted.finish_reason is None else scripted.finish_reason or None
    details = {"type": "refusal", "category": "fake", "explanation": scripted.refusal} if scripted.refusal else None
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": scripted.model or asked["model"],
        "content": [*thinking, *([] if scripted.refusal else [{"type": "text", "text": text}])],
        "stop_reason": reason,
        "stop_details": details,
        "usage": scripted.usage or {"input_tokens": len(json.dumps(asked)) // 4, "output_tokens": len(text) // 4 + 1},
    }


def _find_schema(body: dict[str, Any]) -> Any:
    openai = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return openai or body.get("output_config", {}).get("format", {}).get("schema", {})


def _find_user_text(body: dict[str, Any]) -> str:
    texts = [m["content"] for m in body.get("messages", []) if m.get("role") == "user"]
    # The first: where it is asked again, what follows speaks of the answer.
    return str(texts[0]) if texts else ""


async def ask(answer: Answering, body: dict[str, Any]) -> Scripted:
    """What is answered to a body, as a script."""
    answered = answer(body)
    if isinstance(answered, Awaitable):
        answered = await answered
    return answered if isinstance(answered, Scripted) else Scripted(text=json.dumps(answered))


def name_body(body: Any) -> str:
    """One text for one request, whatever way it comes."""
    return json.dumps(body, sort_keys=True)
