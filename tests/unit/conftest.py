"""An HTTP receiver of delivered rows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Receiver(ThreadingHTTPServer):
    """Keeps the (delivery key, row) pairs that it was sent, and answers each row with its status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[tuple[str, str]] = []
        self.statuses: dict[str, int] = {}
        self.holds: dict[str, tuple[threading.Event, threading.Event]] = {}
        self.uri = f"http://127.0.0.1:{self.server_port}/in"

    def hold(self, row: str) -> tuple[threading.Event, threading.Event]:
        """Answer this row only later: the events that it has arrived, and that it may be answered."""
        self.holds[row] = threading.Event(), threading.Event()
        return self.holds[row]

    def list_rows(self) -> list[str]:
        return [row for _, row in self.sent]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        row = json.loads(self.rfile.read(int(self.headers["content-length"])))["row_id"]
        self.server.sent.append((self.headers["idempotency-key"], row))
        if row in self.server.holds:
            arrived, goes_on = self.server.holds[row]
            arrived.set()
            goes_on.wait(10)
        self.send_response(self.server.statuses.get(row, 200))
        self.send_header("content-length", "0")
        self.send_header("retry-after", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
