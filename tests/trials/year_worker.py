"""
`python -m tests.trials.year_worker`: makes the processes of a year.

All that takes time is imported once; each line of orders on standard input is then carried out by a fork, which takes
the time to be what it is told, may be killed at a failpoint, and leaves what it came to in a file.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

# Imported for the forks, which would each take two seconds over them.
import anyio._backends._asyncio  # noqa: F401
import certifi  # noqa: F401
import h2.connection  # noqa: F401
import httpcore  # noqa: F401
import httpx_aiohttp  # noqa: F401
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401
import numpy.ma  # noqa: F401
import psycopg  # noqa: F401
import scipy.stats  # noqa: F401

import overnight.ledger.migrate
import overnight.llm.openai_chat  # noqa: F401 - the same
from overnight import failpoints
from tests.trials.shared_worker import Process
from tests.trials.year_house import warm_up
from tests.trials.year_sitting import sit
from tests.trials.year_steps import clear, work

#: Longer than any process of a busy machine takes.
_ENDS_S = 60.0
STEPS = {"work": work, "sit": sit, "clear": clear}


@dataclass(frozen=True)
class Orders:
    """What a process is to do, in which night, and what it takes the time to be."""

    #: One of `STEPS`.
    step: str
    home: str
    ledger_url: str
    run_id: str
    at: float
    endpoint: str = ""
    source: str = ""
    sink: str = ""
    prompt: int = 1
    checks: int = 1
    prices: tuple[float, float] = (0.0, 0.0)
    cap_usd: float = 5.0
    #: Where batches are judged.
    bench: str = ""
    decision: str = "release"
    #: Whether what was approved is delivered at once.
    delivers: bool = True
    #: How far the clock is set in the middle of it, in seconds.
    shift_s: float = 0.0
    failpoint: str = ""
    #: Whether the morning's brief is written, whose plots take a second.
    has_brief: bool = True


@dataclass(frozen=True)
class Started:
    """A process, and where it says what it came to."""

    process: Process
    result: Path

    def wait(self) -> dict[str, Any] | None:
        """What it came to; None where it was killed."""
        self.process.wait_end(_ENDS_S)
        said = json.loads(self.result.read_text()) if self.result.exists() else None
        assert not (said and "crashed" in said), said["crashed"]
        return said


class Forge:
    """Where such processes are made."""

    def __init__(self, maker: subprocess.Popen[str], folder: Path) -> None:
        self._maker = maker
        self._folder = folder
        self._made: list[Process] = []
        self.n_made = 0

    def start(self, orders: Orders) -> Started:
        """A process that begins now."""
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        self.n_made += 1
        result = self._folder / f"{self.n_made}.json"
        self._maker.stdin.write(json.dumps([str(result), asdict(orders)]) + "\n")
        self._maker.stdin.flush()
        # Those before have been waited for, but for one that may run beside it.
        for old in self._made[:-1]:
            old.close()
        self._made = [*self._made[-1:], Process(int(self._maker.stdout.readline()), result)]
        return Started(self._made[-1], result)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Those that are still there at the end are killed."""
        command = [sys.executable, "-m", __name__]
        environment = os.environ | {
            "OPENAI_API_KEY": "sk-fake-0123456789abcdef",
            "TZ": "Europe/Paris",
            "OPENBLAS_NUM_THREADS": "1",
        }
        with subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as maker:
            try:
                yield (forge := cls(maker, folder))
            finally:
                for process in forge._made:
                    process.close()
                maker.stdin and maker.stdin.close()


class WallClock:
    """What a process takes the time to be, in the place of `time.time`."""

    def __init__(self, at: float) -> None:
        self._started, self._at = time.monotonic(), at
        self._shift: tuple[float, float] | None = None

    def __call__(self) -> float:
        gone_s = time.monotonic() - self._started
        shift_s = self._shift[1] if self._shift and gone_s >= self._shift[0] else 0.0
        return self._at + gone_s + shift_s

    def set_forward(self, seconds: float) -> None:
        """Somebody sets it, or time passes that nobody waits for."""
        self._at += seconds

    def set_later(self, after_s: float, by_s: float) -> None:
        """Somebody sets it in a while."""
        self._shift = time.monotonic() - self._started + after_s, by_s


def main() -> None:
    """Carry out orders until there are no more."""
    # Nobody waits for the forks: whoever was killed is gone, and no zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    warm_up()
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            os._exit(_carry_out(*json.loads(line)))
        print(pid, flush=True)  # noqa: T201 - its one output


def _carry_out(result: str, given: dict[str, Any]) -> int:
    orders = Orders(**given)
    # One that hangs says where, and ends.
    faulthandler.dump_traceback_later(_ENDS_S - 5, exit=True)
    os.environ["OVERNIGHT_FAILPOINT"] = orders.failpoint
    importlib.reload(failpoints)
    time.time = clock = WallClock(orders.at)  # type: ignore[assignment]
    try:
        said = STEPS[orders.step](orders, clock)
    except BaseException:  # noqa: BLE001 - a fork must not go on as its maker
        said = {"crashed": f"{orders}\n{traceback.format_exc()}"}
    # Whole or not at all: whoever is killed while it is written has said nothing.
    part = Path(f"{result}.part")
    part.write_text(json.dumps(said))
    part.replace(result)
    return int("crashed" in said)


if __name__ == "__main__":
    main()
