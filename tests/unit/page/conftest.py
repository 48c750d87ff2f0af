"""A page on a real loopback port, over a desk that only notes what it is handed."""

from __future__ import annotations

import html
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from overnight.approve import Answers, Decision
from overnight.approve.outlook import Outlook
from overnight.page import Review, make_app
from overnight.records import Approval, Release, ReviewItem, ReviewPolicy, RunState

TOKEN = "the-token"  # noqa: S105 - of a server that lives for a test
SCHEMA = {
    "type": "object",
    "required": ["label", "quote"],
    "properties": {
        "label": {"$ref": "#/$defs/label"},
        "quote": {"type": "string", "maxLength": 60},
        "n": {"type": "integer"},
    },
    "$defs": {"label": {"enum": ["red", "green", None]}},
}


def make_release(*outputs: dict[str, Any], body: str = "The red door is open.", **changes: Any) -> Release:
    """A release that shows these outputs, or three of one kind."""
    made = outputs or tuple({"label": "red", "quote": f"red door {n}", "n": n} for n in (1, 2, 3))
    items = tuple(ReviewItem(n, f"r{n}", {"body": body}, output) for n, output in enumerate(made, 1))
    policy = ReviewPolicy(0.95, 0.1, 1, 1, 7.0, 24.0)
    release = Release(
        "night-1-abc", "night-1", "d" * 64, "file:out", "replace", "reversible", 1000, 0, items, 1, policy
    )
    return replace(release, **changes)


def find_outlook(release: Release) -> Outlook:
    """Of a first round: all but one item are rows drawn at random."""
    n = len(release.items)
    return Outlook(release.n_rows, release.n_rows - n + 1, 0, 0, n, n - 1, release.n_seeds, 0.95, 0.1)


@dataclass
class FakeDesk:
    """Says what it was told to say."""

    says: list[Decision | Exception] = field(default_factory=list)
    #: Opened one after the other.
    rounds: list[Release | Exception] = field(default_factory=list)
    is_coded: bool = False
    handed: list[Answers] = field(default_factory=list)
    #: What was decided elsewhere.
    standing: Approval | RunState | None = None
    channel: str = ""

    def open_round(self, release: Release) -> Release:  # noqa: ARG002 - as the real one's
        found = self.rounds.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def demands_code(self, release: Release) -> bool:  # noqa: ARG002 - as the real one's
        return self.is_coded

    def decide(self, release: Release, answers: Answers, *, channel: str) -> Decision:  # noqa: ARG002 - as the real one's
        self.channel = channel
        self.handed.append(answers)
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


@dataclass
class Browser:
    """A browser without script: it follows links and sends forms."""

    client: httpx.Client
    review: Review
    url: str
    port: int
    #: The seconds that the page gave itself.
    ended: list[float]

    def get(self, path: str) -> str:
        return self._read(self.client.get(path))

    def send(self, path: str, **fields: Any) -> str:
        """Send a form of the round that is open; the page that follows."""
        return self._read(self.client.post(path, data={"round": self.review.release.round, "seconds": ""} | fields))

    def _read(self, response: httpx.Response) -> str:
        self.path, self.status = response.url.path, response.status_code
        return response.text


def read_text(page: str) -> str:
    """What is to be read on a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.split("<body>")[1])).split())


def open_client(url: str, **options: Any) -> httpx.Client:
    """A client that trusts no certificate: nobody here shows one, and to read all of them takes longer than a test."""
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(base_url=url, trust_env=False, verify=nobody, **options)


@contextmanager
def open_page(review: Review) -> Iterator[Browser]:
    """The page served, and a browser that has opened its address."""
    ended: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        app = make_app(review, port=port, token=TOKEN, end_in=ended.append)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            url = f"http://127.0.0.1:{port}"
            with open_client(url, follow_redirects=True) as client:
                client.get(f"/?token={TOKEN}")
                yield Browser(client, review, url, port, ended)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def make_review(desk: FakeDesk, home: Path) -> Callable[..., Review]:
    def make(release: Release | None = None, **options: Any) -> Review:
        found = {"find_outlook": find_outlook, "find_standing": lambda _: desk.standing} | options
        return Review(release or make_release(), desk, schema=SCHEMA, home=home, **found)

    return make


@pytest.fixture
def browser(make_review: Callable[..., Review]) -> Iterator[Browser]:
    with open_page(make_review()) as opened:
        yield opened
