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
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from tests.fakes.answers import Answering, Call, Scripted, answer_by_schema, ask, encode_answer, name_body
from tests.fakes.batches import FakeBatches

__all__ = ["Answering", "Call", "FakeProvider", "Scripted", "answer_by_schema"]


class FakeProvider:
    """
    The server, on its own thread while the context lasts.

    Args:
        answer: Decides each response from the request's body; may be set anew at any time. A coroutine's is waited for.
        log: A file that gets one JSON line a call.

    Attributes:
        calls: All that was asked, also of batches.
        billed: By `name_body`, how often each request was answered with a 200, by a call of its own or in a batch.
        batches: The provider's batches.
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
        self.billed: Counter[str] = Counter()
        self.batches = FakeBatches(self._bill, lambda body: ask(self.answer, body))
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

    @property
    def online_calls(self) -> list[Call]:
        """Those that were answered while they were waited for."""
        return [call for call in self.calls if call.path.endswith(("/chat/completions", "/messages"))]

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
        app = web.Application(client_max_size=512 * 1024 * 1024, middlewares=[self._note_batch_call])
        app.router.add_post("/v1/chat/completions", self._respond)
        app.router.add_post("/v1/messages", self._respond)
        self.batches.mount(app)
        # A handler ends with its connection, so that a drip or a delay never holds up the end of a test.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=512)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        call = await self._record(request)
        scripted = await ask(self.answer, call.body)
        if scripted.delay_s:
            await asyncio.sleep(scripted.delay_s)
        if scripted.drop and request.transport is not None:
            request.transport.abort()
        elif scripted.status == web.HTTPOk.status_code:
            self._bill(call.body)
        body = encode_answer(scripted, call.path, call.body)
        headers = {"content-type": "application/json", "request-id": f"req_{len(self.calls)}", **scripted.headers}
        if scripted.cut_at is None and scripted.drip is None:
            return web.Response(status=scripted.status, body=body, headers=headers)
        return await _send_badly(request, scripted, body, headers)

    def _bill(self, body: Any) -> None:
        self.billed[name_body(body)] += 1

    @web.middleware
    async def _note_batch_call(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.endswith(("/chat/completions", "/messages")):
            # Their bodies are kept with the batches.
            self._keep(request, f"{request.method} {request.path}", None, b"")
        response: web.StreamResponse = await handler(request)
        return response

    async def _record(self, request: web.Request) -> Call:
        raw = await request.read()
        return self._keep(request, request.path, json.loads(raw), raw)

    def _keep(self, request: web.Request, path: str, body: Any, raw: bytes) -> Call:
        headers = {k.lower(): v for k, v in request.headers.items()}
        call = Call(path, headers, body, raw, time.time(), _find_port(request))
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


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A provider that answers any schema with its least instance.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append one JSON line a call")
    arguments = parser.parse_args()
    with FakeProvider(port=arguments.port, log=arguments.log) as fake, contextlib.suppress(KeyboardInterrupt):
        fake.batches.ends_after = 1
        print(fake.openai_base_url, fake.anthropic_base_url, sep="\n", flush=True)  # noqa: T201 - its one output
        threading.Event().wait()


if __name__ == "__main__":
    main()
