"""
A provider that answers OpenAI chat completions and Anthropic Messages over real HTTP, and misbehaves on command.

In a test: `with FakeProvider() as fake: ...`. For other processes: `python -m tests.fakes.provider --port 0`
prints the OpenAI base URL on its first line and the Anthropic one on its second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

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


class FakeProvider:
    """
    The server, on its own thread while the context lasts.

    Args:
        answer: Decides each response from the request's body; may be set anew at any time. A coroutine's is waited for.
        log: A file that gets one JSON line a call.
    """

    def __init__(
        self,
        answer: Answering = answer_by_schema,
        *,
        port: int = 0,
        log: Path | None = None,
    ) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.port = port
        self._log = log
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-provider", daemon=True)

    @property
    def openai_base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._respond)
        app.router.add_post("/v1/messages", self._respond)
        # A handler ends with its connection, so that a drip or a delay never holds up the end of a test.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=512)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        call = await self._record(request)
        answer = self.answer(call.body)
        if isinstance(answer, Awaitable):
            answer = await answer
        scripted = answer if isinstance(answer, Scripted) else Scripted(text=json.dumps(answer))
        if scripted.delay_s:
            await asyncio.sleep(scripted.delay_s)
        if scripted.drop and request.transport is not None:
            request.transport.abort()
        body = _encode(scripted, call)
        headers = {"content-type": "application/json", "request-id": f"req_{len(self.calls)}", **scripted.headers}
        if scripted.cut_at is None and scripted.drip is None:
            return web.Response(status=scripted.status, body=body, headers=headers)
        return await _send_badly(request, scripted, body, headers)

    async def _record(self, request: web.Request) -> Call:
        raw = await request.read()
        headers = {k.lower(): v for k, v in request.headers.items()}
        call = Call(request.path, headers, json.loads(raw), raw, time.time(), _find_port(request))
        self.calls.append(call)
        if self._log is not None:
            line = json.dumps({"time": call.time, "path": call.path, "body": call.body})
            with self._log.open("a") as file:
                file.write(line + "\n")
        return call


def _find_port(request: web.Request) -> int:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return int(peer[1]) if peer else 0


async def _send_badly(
    request: web.Request, scripted: Scripted, body: bytes, headers: Mapping[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=scripted.status, headers={**headers, "content-length": str(len(body))})
    await response.prepare(request)
    for at, byte in enumerate(body):
        if at == scripted.cut_at and request.transport is not None:
            # Closed, not reset: what was sent still arrives.
            request.transport.close()
            break
        await response.write(bytes([byte]))
        await asyncio.sleep(scripted.drip or 0)
    return response


def _encode(scripted: Scripted, call: Call) -> bytes:
    body = scripted.body
    if body is None:
        shape = _anthropic_body if call.path.endswith("/messages") else _openai_body
        body = shape(scripted, call.body, scripted.text or json.dumps(answer_by_schema(call.body)))
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


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A provider that answers any schema with its least instance.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append one JSON line a call")
    arguments = parser.parse_args()
    with FakeProvider(port=arguments.port, log=arguments.log) as fake, contextlib.suppress(KeyboardInterrupt):
        print(fake.openai_base_url, fake.anthropic_base_url, sep="\n", flush=True)  # noqa: T201 - its one output
        threading.Event().wait()


if __name__ == "__main__":
    main()
