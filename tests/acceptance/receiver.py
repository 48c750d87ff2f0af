"""A receiver of rows on loopback, as an HTTP sink meets one: it takes everything and notes what came."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    key: str
    row: dict[str, Any]


class Receiver:
    """The server, on its own thread while the context lasts."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self.received))
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


def _make_handler(received: list[Received]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            row = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append(Received(self.headers["idempotency-key"], row))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The test reads what was received, not a log."""

    return Handler
