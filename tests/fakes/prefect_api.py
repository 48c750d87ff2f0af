"""The few answers of Prefect's API that are asked by plain HTTP, over loopback; each may be set anew."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Plain:
    """An answer that is a mere number."""

    value: int


class FakePrefect:
    """The server, on its own thread while the context lasts; what it was not given is not found."""

    def __init__(self, answers: dict[str, Any]) -> None:
        #: By path after /api; a number is a bare status.
        self.answers = {"/health": True} | answers
        self.authorizations: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/api"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _make_handler(fake: FakePrefect) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            fake.authorizations.append(self.headers.get("authorization"))
            found = fake.answers.get(self.path.removeprefix("/api"), 404)
            is_status = isinstance(found, int) and not isinstance(found, bool)
            body = json.dumps({} if is_status else found.value if isinstance(found, Plain) else found).encode()
            self.send_response(found if is_status else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - its base class asks for the name

        def log_message(self, *_: object) -> None:
            pass

    return Handler
