"""The two records of a run that was killed: what the provider was asked, and what the ledger kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from tests.trials.crash_worker import Ended, Orders, Process, Workshop
from tests.trials.scripts import find_row

_ANSWERS = """
    SELECT r.input, c.request_key, c.attempt_id, c.output, c.output_digest, c.accepted_at
    FROM completions AS c JOIN requests AS r ON r.request_key = c.request_key
"""
_ATTEMPTS = """
    SELECT r.input, a.outcome, a.provider_request_id
    FROM attempts AS a JOIN requests AS r ON r.request_key = a.request_key
"""


#: How long nothing may come before something is wrong.
_STALLED_S = 60.0


@dataclass(frozen=True)
class Provider:
    """A provider in a process of its own, and its log: a line a call, from before it is answered."""

    endpoint: str
    log: Path

    def list_rows(self) -> list[str]:
        """The row of each call, the call's number its place."""
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        return [find_row(orjson.loads(line)["body"]) for line in lines]

    def count_calls(self) -> int:
        """How many there were."""
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0


@contextmanager
def start_provider(folder: Path, *, delay_s: float) -> Iterator[Provider]:
    """A provider that answers everything, each call after so long."""
    log = folder / "calls.jsonl"
    command = [sys.executable, "-m", "tests.trials.storm", "0", "0", "0", str(delay_s), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Provider(process.stdout.readline().strip(), log)
        finally:
            process.kill()


@dataclass(frozen=True)
class Trial:
    """One run over one ledger: its processes, and the calls that they made."""

    orders: Orders
    workshop: Workshop
    provider: Provider
    #: Calls that others had made.
    n_before: int

    def over(self, n_rows: int) -> Trial:
        """The same with so many rows."""
        return replace(self, orders=replace(self.orders, n_rows=n_rows))

    def start(self, **changes: Any) -> Process:
        """A process that takes the run up, under orders that may differ."""
        return self.workshop.start(replace(self.orders, **changes))

    def work(self, **changes: Any) -> Ended:
        """The same, to its end."""
        return self.start(**changes).wait()

    def count_calls(self) -> int:
        """How many the run has made."""
        return self.provider.count_calls() - self.n_before

    def list_called(self) -> list[str]:
        """The row of each of its calls, in order."""
        return self.provider.list_rows()[self.n_before :]

    def count_repeats(self) -> int:
        """Its calls for a row that it had called before."""
        called = self.list_called()
        return len(called) - len(set(called))

    def wait_for_calls(self, n_calls: int) -> None:
        """Until it has made so many."""
        deadline = time.monotonic() + _STALLED_S
        while self.count_calls() < n_calls:
            assert time.monotonic() < deadline, "the calls stopped coming"
            time.sleep(0.002)

    def read_answers(self) -> dict[str, tuple[Any, ...]]:
        """What the ledger holds."""
        return read_answers(self.orders.ledger_url)


@contextmanager
def connect(ledger_url: str) -> Iterator[sa.Connection]:
    """
    The ledger as it lies there after its process was killed.

    A file is read as a copy: whoever opens it first and closes it last puts it in order, and that is left to the next
    process of the run.
    """
    path = Path(ledger_url.removeprefix("sqlite:///"))
    with tempfile.TemporaryDirectory() as folder:
        if ledger_url.startswith("sqlite"):
            for file in (path, path.with_name(path.name + "-wal")):
                if file.exists():
                    shutil.copyfile(file, Path(folder) / file.name)
            ledger_url = f"sqlite:///{folder}/{path.name}"
        with sa.create_engine(ledger_url, poolclass=sa.NullPool).connect() as connection:
            yield connection


def read_answers(ledger_url: str) -> dict[str, tuple[Any, ...]]:
    """Every recorded answer as it is written there, by row."""
    with connect(ledger_url) as connection:
        found = connection.exec_driver_sql(_ANSWERS).all()
    return {_name(row[0]): tuple(bytes(v) if isinstance(v, memoryview) else v for v in row[1:]) for row in found}


def read_attempts(ledger_url: str) -> list[tuple[str, str, str | None]]:
    """Every attempt's row, its outcome, and the provider's own id of the call, where it was answered."""
    with connect(ledger_url) as connection:
        return [(_name(row[0]), row[1], row[2]) for row in connection.exec_driver_sql(_ATTEMPTS)]


def _name(given: str) -> str:
    return str(orjson.loads(given)["body"].split()[-1])
