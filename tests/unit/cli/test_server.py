from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from overnight.cli.server import ensure_server
from overnight.failures import OvernightError
from tests.conftest import House
from tests.fakes.prefect_api import FakePrefect
from tests.unit.cli.conftest import Cli

#: Says that it is there, then waits to be ended.
_WAIT = "import signal; print('up', flush=True); signal.pause()"


@contextmanager
def _process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _WAIT, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def record(house: House) -> Path:
    """Where a run by hand notes the server that it started."""
    path = house.home / "prefect" / "server.json"
    path.parent.mkdir()
    return path


def _note(record: Path, pid: int) -> None:
    record.write_text(json.dumps({"pid": pid, "url": "http://127.0.0.1:9/api"}))


def test_a_process_that_is_no_prefect_server_is_not_signalled(cli: Cli, record: Path) -> None:
    # Its number was the server's before a reboot.
    with _process("some", "other", "program") as other:
        _note(record, other.pid)
        code, out, _ = cli("down")
        assert (code, out) == (0, "The server had ended already.\n")
        assert other.poll() is None
    assert not record.exists()


def test_the_server_that_was_started_is_ended(cli: Cli, record: Path) -> None:
    with _process("prefect", "server", "start") as server:
        _note(record, server.pid)
        reaper = threading.Thread(target=server.wait)
        reaper.start()
        code, out, _ = cli("down")
        reaper.join(10)
        assert (code, server.returncode) == (0, -signal.SIGTERM)
    assert "has ended" in out
    assert not record.exists()


def test_a_server_that_is_gone_is_no_fault(cli: Cli, record: Path) -> None:
    with _process() as ended:
        _note(record, ended.pid)
    assert cli("down")[:2] == (0, "The server had ended already.\n")


def test_where_no_server_was_started_down_says_so(cli: Cli) -> None:
    assert cli("down")[:2] == (0, "No server was started by a run of this project.\n")


def test_a_server_that_asks_for_another_password_is_refused_in_one_line(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ada:wrong")
    with FakePrefect({"/admin/version": 401}) as prefect:
        monkeypatch.setenv("PREFECT_API_URL", prefect.url)
        with pytest.raises(OvernightError, match="Set PREFECT_API_AUTH_STRING to USER:PASSWORD") as refused:
            ensure_server(house.settings)
        assert "Basic YWRhOndyb25n" in prefect.authorizations
    assert "wrong" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_server_that_knows_the_password_or_asks_for_none_is_used(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakePrefect({"/admin/version": "3"}) as prefect:
        monkeypatch.setenv("PREFECT_API_URL", prefect.url)
        assert ensure_server(house.settings) == prefect.url
