"""The world outside a year's ledger: a provider with weather and an invoice, and a receiver that logs."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Self

import orjson

from tests.fakes.provider import Scripted
from tests.trials.year import answer_text

_ASKED = re.compile(r"\(v(\d+)\): <query>(.*?)</query>", re.DOTALL)
HANG_S = 30.0
N_TOKENS = (120, 20)

#: What may be answered: the kind, how often in each weather, and how.
GOOD, REFUSAL = "good", "refusal"
FAULTS: dict[str, Scripted] = {
    "busy": Scripted(status=429, headers={"retry-after": "0"}),
    "busy for an hour": Scripted(status=429, headers={"retry-after": "3600"}),
    "fault": Scripted(status=500),
    "away": Scripted(status=503),
    "lost": Scripted(drop=True),
    "cut": Scripted(cut_at=25),
    "garbage": Scripted(text="I think it is { red"),
    "misfit": Scripted(text='{"label":"purple","quote":""}'),
    REFUSAL: Scripted(refusal="I would rather not."),
    "hang": Scripted(delay_s=HANG_S),
    "revoked": Scripted(status=401, text="The key was revoked."),
    "unpaid": Scripted(status=429, body={"error": {"code": "insufficient_quota", "message": "Out of credit"}}),
}
SKIES: dict[str, dict[str, int]] = {
    "calm": {GOOD: 98, "fault": 1, "busy": 1},
    "capped": {GOOD: 90, "lost": 5, "cut": 5},
    "storm": {
        GOOD: 52, "busy": 12, "busy for an hour": 1, "fault": 8, "lost": 7, "cut": 7, "garbage": 6, "misfit": 4,
        REFUSAL: 3,
    },
    "hangs": {GOOD: 80, "hang": 10, "fault": 10},
    "outage": {"away": 70, "lost": 30},
    "revoked": {GOOD: 40, "revoked": 60},
    "unpaid": {GOOD: 60, "unpaid": 40},
}  # fmt: skip
#: What is answered with a status of 200 has been worked on, and is on the invoice, whether it arrives or not.
_FREE = {"busy", "busy for an hour", "fault", "away", "revoked", "unpaid"}


@dataclass(frozen=True)
class Given:
    """One call as the provider has it in its log."""

    call_id: str
    #: The day of the plan, and the scope of its money.
    day: int
    night: str
    version: int
    text: str
    kind: str
    usd: float

    @property
    def key(self) -> tuple[int, str]:
        return self.version, self.text


class Weather:
    """An `answer` for the fake provider: what it does to whom depends on the seed, the day and the text alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: Counter[tuple[object, ...]] = Counter()
        self.given: list[Given] = []
        self.day, self.sky, self.night, self.prices = 0, "calm", "", (0.0, 0.0)

    def __call__(self, body: dict[str, Any]) -> Scripted:
        user = next(m["content"] for m in body["messages"] if m["role"] == "user")
        found = _ASKED.search(user)
        assert found, f"nobody's question: {user}"
        version, text = int(found[1]), found[2]
        self._asked[self.day, version, text] += 1
        dice = Random(f"{self._seed} {self.day} {version} {text} {self._asked[self.day, version, text]}")  # noqa: S311 - a trial's
        kind = dice.choices(*zip(*SKIES[self.sky].items(), strict=True))[0]
        n_in, n_out = N_TOKENS[0] + len(text), N_TOKENS[1] + len(text) % 5
        usd = 0.0 if kind in _FREE else (n_in * self.prices[0] + n_out * self.prices[1]) / 1e6
        call = Given(f"call-{len(self.given)}", self.day, self.night, version, text, kind, usd)
        self.given.append(call)
        usage = {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
        how = FAULTS.get(kind, Scripted())
        said = how.text or orjson.dumps(answer_text(version, text)).decode()
        return Scripted(
            **vars(how) | {"text": said, "usage": usage, "headers": {**how.headers, "request-id": call.call_id}}
        )


@dataclass(frozen=True)
class Posted:
    """One request as it arrived at the receiver."""

    key: str
    body: bytes
    #: The day of the plan.
    day: int


class Desk:
    """A receiver over HTTP: logs each request, and at times loses its answer or has no time."""

    def __init__(self, seed: int) -> None:
        self.posted: list[Posted] = []
        self.day = 0
        self.is_away = False
        self._dice = Random(seed)  # noqa: S311 - a trial's dice
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/rows"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def take(self, key: str, body: bytes) -> int:
        """The status of the answer; a row that was taken may be answered with a fault all the same."""
        chance = self._dice.random()
        if self.is_away:
            return 403
        if chance < 0.01:
            return 503
        self.posted.append(Posted(key, body, self.day))
        return 500 if chance < 0.02 else 204

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = desk.take(self.headers["idempotency-key"], body)
                self.send_response(status)
                self.send_header("content-length", "0")
                if status in (500, 503):
                    self.send_header("retry-after", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """The trial reads what was posted, not a log."""

        return Handler
