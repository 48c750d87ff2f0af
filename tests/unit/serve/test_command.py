"""`overnight serve` as a process: what it acknowledged is on disk, and it ends when it is told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from overnight.inbox import find
from overnight.ledger import Ledger
from overnight.serve import add_token
from tests.unit.serve.conftest import make_project

COMMAND = (sys.executable, "-m", "overnight", "serve")
BODY = b'{"row":{"id":"r1","body":"words"}}'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    monkeypatch.setenv("OVERNIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("OVERNIGHT_LEDGER_URL", raising=False)
    return tmp_path


@contextmanager
def serving(project: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    token = add_token(project / "home" / "serve-tokens", "ada")
    process = subprocess.Popen((*COMMAND, "--port", "0"), cwd=project, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stderr
            found = re.fullmatch(r"Listening on (\S+)\. Ctrl-C ends it\.\n", process.stderr.readline())
            assert found
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=found[1], headers=headers, timeout=20) as client:
                yield process, client
        finally:
            process.kill()


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*COMMAND, *arguments), cwd=project, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_acknowledged_is_there_after_a_kill(project: Path) -> None:
    acknowledged: list[str] = []
    with serving(project) as (process, client):

        def send(n: int) -> None:
            try:
                made = client.post("/v1/requests/sort", json={"row": {"id": n, "body": "w"}})
            except httpx.TransportError:
                return
            if made.status_code == 202:
                acknowledged.append(made.json()["key"])
            if len(acknowledged) == 50:
                process.send_signal(signal.SIGKILL)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(send, range(400)))
        assert process.wait(20) == -signal.SIGKILL
    assert 50 <= len(acknowledged) < 400
    with closing(Ledger(f"sqlite:///{project / 'home' / 'ledger.sqlite'}")) as ledger:
        assert all(find(key, ledger=ledger) for key in acknowledged)


@contextmanager
def beginning(client: httpx.Client) -> Iterator[socket.socket]:
    """A request whose body the server waits for."""
    url, token = client.base_url, client.headers["authorization"]
    with socket.create_connection((url.host, url.port or 0), 20) as slow:
        head = f"POST /v1/requests/sort HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nExpect: 100-continue\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        slow.sendall(head.encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 100")
        yield slow


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to_and_answers_first_who_is_being_read(project: Path, by: signal.Signals) -> None:
    with serving(project) as (process, client):
        with beginning(client) as slow:
            process.send_signal(by)
            slow.sendall(BODY)
            assert slow.recv(100).startswith(b"HTTP/1.1 202")
        assert process.wait(15) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_who_waits_for_a_ledger_that_is_held_is_told_that_the_server_ends(project: Path) -> None:
    with serving(project) as (process, client):
        path = project / "home" / "ledger.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as other, beginning(client) as slow:
            other.execute("BEGIN IMMEDIATE")
            slow.sendall(BODY)
            process.send_signal(signal.SIGTERM)
            assert slow.recv(100).startswith(b"HTTP/1.1 503")
        assert process.wait(15) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_a_new_token_is_shown_once_and_nothing_is_served_without_one(project: Path) -> None:
    refused = run(project)
    assert (refused.returncode, refused.stderr.count("\n"), "--new-token" in refused.stderr) == (1, 1, True)
    made = run(project, "--new-token", "ada")
    assert made.stdout.startswith("ovn_")
    assert made.stdout.strip() not in (project / "home" / "serve-tokens").read_text() + made.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--host", "192.0.2.1", "--port", "0"), "Nothing can listen on 192.0.2.1"),
        (("--rate", "often"), "'often' is no rate"),
        (("--rate", "0/minute"), "'0/minute' is no rate"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(project: Path, arguments: tuple[str, ...], why: str) -> None:
    add_token(project / "home" / "serve-tokens", "ada")
    refused = run(project, *arguments)
    assert refused.returncode == 1
    assert why in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    assert ("not encrypted" in refused.stderr) == ("--host" in arguments)
