"""A provider that costs little: the same answer to every call, at once or, under /slow, after a while; it counts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from benchmarks.rows import DELAY_S

#: Each answer has an id of its own, as a real one has.
ANSWER = (
    b'{"id":"chatcmpl-%d","object":"chat.completion","created":0,"model":"bench","choices":[{"index":0,'
    b'"finish_reason":"stop","message":{"role":"assistant","refusal":null,'
    b'"content":"{\\"sentiment\\":\\"neither\\",\\"word\\":\\"the\\"}"}}],'
    b'"usage":{"prompt_tokens":120,"completion_tokens":12,"total_tokens":132}}'
)


@dataclass
class Counts:
    """The calls since they were last handed over; seconds since the epoch."""

    n_calls: int = 0
    first_arrival: float = 0.0
    last_answer: float = 0.0
    bodies: set[int] = field(default_factory=set)

    def as_json(self) -> bytes:
        span_s = self.last_answer - self.first_arrival
        return orjson.dumps({"n_calls": self.n_calls, "n_distinct": len(self.bodies), "span_s": span_s})


class Provider:
    """Answers every POST; a DELETE hands over the counts and begins anew, a GET shows them."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._n_answers = 0

    async def respond(self, request: web.BaseRequest) -> web.Response:
        counts = self._counts
        if request.method != "POST":
            if request.method == "DELETE":
                self._counts = Counts()
            return web.Response(body=counts.as_json())
        is_counted = not request.path.startswith("/uncounted")
        if is_counted:
            counts.first_arrival = counts.first_arrival or time.time()
            counts.n_calls += 1
        body = await request.read()
        if request.path.startswith("/slow"):
            await asyncio.sleep(DELAY_S)
        if is_counted:
            counts.bodies.add(hash(body))
            counts.last_answer = time.time()
        self._n_answers += 1
        return web.Response(body=ANSWER % self._n_answers, content_type="application/json")


async def serve() -> None:
    """Print the port, then answer until the process is ended."""
    runner = web.ServerRunner(web.Server(Provider().respond, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=512).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
