"""The command line in this process, over a house of its own, far from any server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from overnight.cli import main
from tests.conftest import House

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Cli:
    """Runs `overnight …` in an empty folder; its exit code, what it printed, and what it said beside that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVERNIGHT_HOME", str(house.home))
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", house.ledger.url)
    # Nobody listens there; without it a server that the machine runs for other work would be asked.
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["overnight", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        assert isinstance(code, int)
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run
