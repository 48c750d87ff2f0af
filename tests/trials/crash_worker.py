"""
`python -m tests.trials.crash_worker`: makes processes that work on a run and may be killed at it.

All that takes time is imported once; each line of orders on standard input is then carried out by a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import httpx_aiohttp  # noqa: F401 - imported for the forks
import psycopg  # noqa: F401 - the same

import overnight.ledger.migrate
import overnight.llm.anthropic_messages
import overnight.llm.batches.anthropic
import overnight.llm.batches.openai
import overnight.llm.openai_chat  # noqa: F401 - the same
from overnight import failpoints
from overnight.complete import Engine
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.terms import pin_mode
from overnight.llm import parse_model, worst_usd
from overnight.records import CheckedBatch, CompletedBatch, Prompt, Release
from tests.conftest import RUN, House, make_settings
from tests.trials.batch_night import BatchNight
from tests.trials.night import cut_source

#: Of one provider batch.
BATCH_ROWS = 25
_KEYS = {"OPENAI_API_KEY": "sk-fake-0123456789abcdef", "ANTHROPIC_API_KEY": "sk-ant-fake-0123456789"}


@dataclass(frozen=True)
class Orders:
    """Which run is worked on, and how."""

    home: str
    ledger_url: str
    endpoint: str
    #: Where the release would go: part of its digest.
    sink: str
    n_rows: int
    concurrency: int
    #: Where the process is killed; nowhere.
    failpoint: str = ""
    #: The most bytes that a file of the process may have; as many as it likes.
    max_bytes: int | None = None
    #: The model whose provider is asked in batches; rows are asked by calls.
    in_batches: str | None = None
    #: Whether it is late after the first turn: what the provider has not answered is asked by calls.
    is_late: bool = False


@dataclass(frozen=True)
class Ended:
    """What became of a process: its exit code, and what it said at its end."""

    code: int
    n_accepted: int = 0
    n_pending: int = 0
    #: Why the run halted, or was refused.
    why: str = ""
    #: Of the release that it offered.
    digest: str = ""
    seconds: float = 0.0


def work(orders: Orders) -> dict[str, Any]:
    """Take the run up where it is, and go on to the gate."""
    home = Path(orders.home)
    settings = make_settings(
        home, orders.ledger_url, concurrency=orders.concurrency, batch_rows=BATCH_ROWS, batch_grace_s=0.0
    )
    with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
        house = House(settings, ledger)
        house.begin()
        prompt = house.make_prompt(model=orders.in_batches, endpoint=orders.endpoint)
        night = BatchNight(house, engine, prompt, cut_source(home, ["some words"] * orders.n_rows))
        ledger.write(lambda connection: record_batches(connection, RUN, list(night.batches)))
        ended = night.work_in_batches(lambda: _go_on(orders, ledger)) if orders.in_batches else night.work()
        ledger.write(lambda connection: record_batches(connection, RUN, list(ended.completed)))
        found = {"n_accepted": ended.n_accepted, "n_pending": ended.n_pending, "why": ended.why}
        return found if ended.n_pending else found | {"digest": _offer(ended.completed, prompt, house, orders).digest}


def _go_on(orders: Orders, ledger: Ledger) -> None:
    if orders.is_late:
        ledger.write(lambda connection: pin_mode(connection, RUN, None, 1.0))


def _offer(completed: Any, prompt: Prompt, house: House, orders: Orders) -> Release:
    """The release of rows that no batch check was asked about: that takes a process of its own, and seconds."""
    checked = [_check(batch, prompt, house.ledger) for batch in completed]
    return house.offer_checked(checked, prompt, sink=orders.sink, now=time.time())


def _check(batch: CompletedBatch, prompt: Prompt, ledger: Ledger) -> CheckedBatch:
    counts = (batch.n_accepted, batch.n_quarantined, batch.n_pending)
    checked = CheckedBatch(batch.n, batch.part, prompt.prompt_hash, prompt.checks_hash, *counts)
    ledger.write(lambda connection: record_part(connection, f"check-{batch.part.digest}", checked, time.time()))
    return checked


class Process:
    """A process that works; one at a time of each workshop."""

    def __init__(self, pid: int, workshop: subprocess.Popen[str]) -> None:
        self.pid = pid
        self._workshop = workshop

    def kill(self) -> Ended:
        """End it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> Ended:
        """Until it has ended."""
        assert self._workshop.stdout is not None
        said = json.loads(self._workshop.stdout.readline())
        return (
            Ended(**said)
            if "code" in said
            else Ended(**said, code=json.loads(self._workshop.stdout.readline())["code"])
        )


class Workshop:
    """Where such processes are made."""

    def __init__(self, maker: subprocess.Popen[str]) -> None:
        self._maker = maker

    def start(self, orders: Orders) -> Process:
        """A process that begins to work now."""
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        self._maker.stdin.write(json.dumps(asdict(orders)) + "\n")
        self._maker.stdin.flush()
        return Process(int(self._maker.stdout.readline()), self._maker)

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """It closes when its last process has ended."""
        command = [sys.executable, "-m", __name__]
        environment = os.environ | _KEYS
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as maker:
            yield cls(maker)
            assert maker.stdin is not None
            maker.stdin.close()


def main() -> None:
    """Carry out orders until there are no more."""
    worst_usd(parse_model("openai:gpt-4o"), b"", 0)  # reads the list of prices
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            os._exit(_carry_out(Orders(**json.loads(line))))
        _say(pid)
        _say({"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def _carry_out(orders: Orders) -> int:
    os.environ["OVERNIGHT_FAILPOINT"] = orders.failpoint
    importlib.reload(failpoints)
    if orders.max_bytes is not None:
        # The signal that goes with it is one that Python ignores.
        resource.setrlimit(resource.RLIMIT_FSIZE, (orders.max_bytes, resource.RLIM_INFINITY))
    started = time.monotonic()
    try:
        found = work(orders)
    except OvernightError as error:
        found = {"why": str(error)}
    _say(found | {"seconds": time.monotonic() - started})
    return 0


def _say(word: object) -> None:
    print(json.dumps(word), flush=True)  # noqa: T201 - its one output


if __name__ == "__main__":
    main()
