"""A model that is no model, and a Prefect server for tests: no key is needed and nothing leaves this machine."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.testing.utilities import prefect_test_harness

from tasks.check import get_validator


@pytest.fixture(scope="session")
def server() -> Iterator[None]:
    """One Prefect server with a database of its own, for all tests."""
    get_validator().start()  # its import takes seconds: beside the server's start, not after it
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """`openai:fake` on this machine: gives its `answer` to every request, and keeps in `asked` what it was asked."""
    fake = SimpleNamespace(answer={}, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            message = {"role": "assistant", "content": json.dumps(fake.answer)}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
            body = json.dumps({"id": "fake", "model": "fake", "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{http.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-fake")
        yield fake
        http.shutdown()
        thread.join()


@pytest.fixture
def home(server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of its own, so that no test reads or pays for what a night has asked."""
    for name in [name for name in os.environ if name.startswith("OVERNIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OVERNIGHT_HOME", str(tmp_path))
    monkeypatch.chdir(Path(__file__).parents[1])
    return tmp_path
