"""The provider in a process of its own, and the processes that call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.meter import Cost
from benchmarks.rows import CONCURRENCY

#: What a user may have set says nothing here.
_FOREIGN = ("PREFECT_", "OVERNIGHT_", "OPENAI_", "ANTHROPIC_")


@dataclass(frozen=True)
class Counts:
    """What the provider has seen."""

    n_calls: int
    #: Calls with different bodies.
    n_distinct: int
    #: From the first call's arrival to the last answer.
    span_s: float


@dataclass(frozen=True)
class Provider:
    """The provider's addresses and counts."""

    port: int

    @property
    def url(self) -> str:
        """Answers at once."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def slow_url(self) -> str:
        """Answers after `DELAY_S`."""
        return f"http://127.0.0.1:{self.port}/slow/v1"

    def read_counts(self) -> Counts:
        return self._ask("GET")

    def take_counts(self) -> Counts:
        """The counts since they were last taken."""
        return self._ask("DELETE")

    def environment(self, home: Path, url: str | None = None) -> dict[str, str]:
        """What a measured process is told."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return inherited | {
            "OPENAI_BASE_URL": url or self.url,
            "OPENAI_API_KEY": "sk-bench",
            "BENCH_UNCOUNTED_URL": f"http://127.0.0.1:{self.port}/uncounted/v1",
            "OVERNIGHT_HOME": str(home),
            "OVERNIGHT_CONCURRENCY": str(CONCURRENCY),
        }

    def _ask(self, method: str) -> Counts:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, "/")
            return Counts(**json.loads(connection.getresponse().read()))
        finally:
            connection.close()


@contextmanager
def serving() -> Iterator[Provider]:
    """The provider, while the context lasts."""
    command = [sys.executable, "-m", "benchmarks.processes.provider"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter
    try:
        yield Provider(int(process.stdout.readline() if process.stdout else ""))
    finally:
        process.terminate()
        process.communicate()


def run(name: str, *arguments: object, environment: dict[str, str]) -> Cost:
    """Run one of `benchmarks.processes` to its end; what it says that it cost."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        make_command(name, *arguments), env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return read_cost(done.stdout)


def make_command(name: str, *arguments: object) -> list[str]:
    """The command line of one of `benchmarks.processes`."""
    return [sys.executable, "-m", f"benchmarks.processes.{name}", *map(str, arguments)]


def read_cost(said: str) -> Cost:
    """The last line that a measured process printed."""
    values: dict[str, Any] = json.loads(said.splitlines()[-1])
    return Cost(**values)


def write_source(path: Path, n_rows: int, changed_every: int = 0) -> Path:
    """A source of so many rows, by a process of its own: this one's memory is a lower bound of what it starts."""
    command = make_command("source", path, n_rows, changed_every)
    subprocess.run(command, check=True)  # noqa: S603 - our own interpreter
    return path
