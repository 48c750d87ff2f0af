"""
`python -m tests.trials.shared_worker`: makes processes that share a ledger, any number at a time.

All that takes time is imported once; each line of orders on standard input is then carried out by a fork, which leaves
what it came to in a file.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import httpx_aiohttp  # noqa: F401 - imported for the forks
import psycopg  # noqa: F401 - the same

import overnight.llm.openai_chat  # noqa: F401 - the same
from overnight.complete import Engine
from overnight.keys import canonical_json, digest_bytes
from overnight.ledger import Ledger
from overnight.llm import parse_model, worst_usd
from tests.conftest import RUN, House, make_settings
from tests.trials.night import Night, cut_source

#: One with a price.
MODEL = "openai:gpt-4o"


@dataclass(frozen=True)
class Orders:
    """Which rows a process works on, and what it takes the time to be."""

    home: str
    ledger_url: str
    endpoint: str
    n_rows: int
    run_id: str = RUN
    concurrency: int = 8
    lease_s: float = 120.0
    #: How far its wall clock is off, in seconds, each from so many seconds after its start.
    shifts: Sequence[tuple[float, float]] = ((0.0, 0.0),)
    #: What the clock shows when it begins with its rows: what it is.
    begins_at: float | None = None
    #: Where it stands: the machine's own place.
    timezone: str = ""


@dataclass(frozen=True)
class Ended:
    """What a process came to."""

    n_accepted: int
    n_quarantined: int
    n_pending: int
    n_calls: int
    n_passes: int
    #: Why the run halted.
    why: str
    #: Digest of its rows' answers.
    answers: str
    seconds: float

    @property
    def states(self) -> tuple[int, int, int]:
        """Rows accepted, quarantined and pending."""
        return self.n_accepted, self.n_quarantined, self.n_pending


class Process:
    """A process that works on some rows; it is its maker's child."""

    def __init__(self, pid: int, result: Path) -> None:
        self.pid = pid
        self._result = result
        self._handle = os.pidfd_open(pid)

    def send(self, what: signal.Signals) -> None:
        """Stop it, have it go on, or kill it."""
        signal.pidfd_send_signal(self._handle, what)

    def wait(self, timeout_s: float) -> Ended:
        """What it came to, once it has ended."""
        self.wait_end(timeout_s)
        return Ended(**json.loads(self._result.read_text()))

    def wait_end(self, timeout_s: float) -> None:
        """Until it has ended, however that was."""
        ended, _, _ = select.select([self._handle], [], [], timeout_s)
        assert ended, f"process {self.pid} has not ended in {timeout_s:g} s"

    def close(self) -> None:
        """Nothing is left running."""
        if not select.select([self._handle], [], [], 0)[0]:
            self.send(signal.SIGKILL)
        os.close(self._handle)


class Sharers:
    """Where such processes are made."""

    def __init__(self, maker: subprocess.Popen[str], folder: Path) -> None:
        self._maker = maker
        self._folder = folder
        self._made: list[Process] = []

    def start(self, orders: Orders) -> Process:
        """A process that begins to work now."""
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        result = self._folder / f"{len(self._made)}.json"
        self._maker.stdin.write(json.dumps([str(result), asdict(orders)]) + "\n")
        self._maker.stdin.flush()
        self._made.append(process := Process(int(self._maker.stdout.readline()), result))
        return process

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Those that are still there at the end are killed."""
        command = [sys.executable, "-m", __name__]
        environment = os.environ | {"OPENAI_API_KEY": "sk-fake-0123456789abcdef"}
        with subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as maker:
            try:
                yield (sharers := cls(maker, folder))
            finally:
                for process in sharers._made:
                    process.close()
                maker.stdin and maker.stdin.close()


def work(orders: Orders) -> Ended:
    """Go over the rows until all are answered."""
    _set_timezone(orders.timezone)
    _shift_clock(orders.shifts)
    home = Path(orders.home)
    home.mkdir(parents=True, exist_ok=True)
    settings = make_settings(home, orders.ledger_url, concurrency=orders.concurrency, lease_s=orders.lease_s)
    with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
        house = House(settings, ledger)
        house.begin(orders.run_id)
        prompt = house.make_prompt(model=MODEL, endpoint=orders.endpoint)
        rows = cut_source(home, ["some words"] * orders.n_rows, f"rows-{os.getpid()}")
        engine.run(engine.lane(prompt.model, prompt.endpoint))
        _shift_clock([(0.0, orders.begins_at - time.time() if orders.begins_at else 0.0)])
        ended = (night := Night(house, engine, prompt, rows, orders.run_id)).work()
        outputs = {row["row_id"]: row["output"] for row in night.read_rows(ended)}
        n_calls = engine.context(orders.run_id).progress.calls
        answers = digest_answers(outputs)
        return Ended(*ended.states, n_calls, ended.n_passes, ended.why, answers, ended.seconds)


def digest_answers(outputs: dict[str, str]) -> str:
    """Of the answers by row."""
    return digest_bytes(canonical_json(outputs))


def _set_timezone(name: str) -> None:
    if name:
        os.environ["TZ"] = name
        time.tzset()


def _shift_clock(shifts: Sequence[tuple[float, float]]) -> None:
    read, started = time.time, time.monotonic()

    def read_wrong() -> float:
        gone_s = time.monotonic() - started
        return read() + [shift for after_s, shift in shifts if gone_s >= after_s][-1]

    time.time = read_wrong


def main() -> None:
    """Carry out orders until there are no more."""
    # Nobody waits for the forks: whoever was killed is gone, and no zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    worst_usd(parse_model(MODEL), b"", 0)  # reads the list of prices
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _carry_out(*json.loads(line))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201 - its one output


def _carry_out(result: str, orders: dict[str, object]) -> None:
    try:
        ended = work(Orders(**orders))  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 - a fork must not go on as its maker
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    Path(result).write_text(json.dumps(asdict(ended)))


if __name__ == "__main__":
    main()
