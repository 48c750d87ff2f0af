"""People who are told: a web server on loopback that keeps what apprise's json:// sends it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class People(ThreadingHTTPServer):
    """The server, on its own thread while the context lasts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"json://127.0.0.1:{self.server_port}/secret-path"
        self.notices: list[dict[str, Any]] = []
        self.status = 200
        #: Clear: whoever sends a notice waits for the answer.
        self.answers = threading.Event()
        self.answers.set()
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def titles(self) -> list[str]:
        return [notice["title"] for notice in self.notices]

    def keep(self, notice: dict[str, Any]) -> None:
        with self._arrived:
            self.notices.append(notice)
            self._arrived.notify_all()

    def wait_for(self, n: int, timeout_s: float = 20.0) -> None:
        """Until so many notices have arrived."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.notices) >= n, timeout_s), self.titles

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: People

    def do_POST(self) -> None:
        self.server.keep(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.server.answers.wait(10)
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The test reads what was kept, not a log."""
