"""The inbox over HTTP, on a real port of this machine, with a project of one prompt."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import limits
import pytest

from overnight.serve import Terms, Tokens, add_token, make_app
from overnight.serve.listening import make_server
from tests.conftest import House

PROMPT = (
    "---\nmodel: openai:gpt-fake\nid: id\ninputs: [body]\noptional_inputs: [note]\nparameters: {max_tokens: 50}\n---\n"
    "Sort this: <query>{{ body }}</query>{{ note }}"
)
SCHEMA = (
    '{"type": "object", "additionalProperties": false, "required": ["label"],'
    ' "properties": {"label": {"enum": ["red", "green"]}}}'
)


@dataclass
class Front:
    """A server that answers, and what lies behind it."""

    house: House
    prompts: Path
    tokens: Path
    url: str

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        assert url.port
        return url.host, url.port

    def admit(self, name: str) -> httpx.Client:
        """A client with a token of its own."""
        token = add_token(self.tokens, name)
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=20)


def make_project(folder: Path) -> Path:
    """A folder of prompts with the prompt "sort"."""
    prompt = folder / "prompts" / "sort"
    prompt.mkdir(parents=True)
    (prompt / "prompt.md").write_text(PROMPT)
    (prompt / "output.schema.json").write_text(SCHEMA)
    (prompt / "checks.json").write_text('{"row": [], "batch": []}')
    return prompt.parent


@pytest.fixture
def serve(house: House, tmp_path: Path) -> Iterator[Callable[..., Front]]:
    """Starts a server on these terms."""
    with contextlib.ExitStack() as stack:

        def start(*, head_s: float = 10.0, rate: str = "100000/second", **terms: Any) -> Front:
            prompts, tokens = make_project(tmp_path), tmp_path / "tokens"
            app = make_app(house.ledger, Tokens(tokens), Terms(limits.parse(rate), **terms), prompts=prompts)
            listening = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP))
            listening.bind(("127.0.0.1", 0))
            listening.listen(64)
            server = make_server(app, head_s=head_s)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            return Front(house, prompts, tokens, f"http://127.0.0.1:{listening.getsockname()[1]}")

        yield start


@pytest.fixture
def front(serve: Callable[..., Front]) -> Front:
    return serve()


@pytest.fixture
def ada(front: Front) -> Iterator[httpx.Client]:
    with front.admit("ada") as client:
        yield client
