"""
`python -m tests.trials.publisher`: makes processes that deliver what a person has approved, one or several at once.

All that takes time is imported once; each line of orders on standard input is then carried out by forks, which may be
killed at a failpoint.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import psycopg  # noqa: F401 - imported for the forks

import overnight.ledger.migrate  # noqa: F401 - the same
from overnight import failpoints
from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.records import Approval
from tests.conftest import RUN, House, make_settings

#: In which all of those that begin together must have come to their beginning.
_GATHER_S = 30.0


@dataclass(frozen=True)
class Orders:
    """Which approval is delivered, and how."""

    home: str
    ledger_url: str
    sink: str
    #: Where the processes are killed; nowhere.
    failpoint: str = ""
    #: How many deliver it at once.
    n_processes: int = 1


@dataclass(frozen=True)
class Ended:
    """What became of a process: its exit code, and what it said at its end."""

    code: int
    #: Of the approval that it found.
    found: str = ""
    #: Why it was refused, or halted.
    why: str = ""
    #: Of each row, where it had receipts.
    states: dict[str, str] = field(default_factory=dict)
    #: The most memory that it ever held.
    peak_mb: float = 0.0


class Press:
    """Where such processes are made."""

    def __init__(self, maker: subprocess.Popen[str]) -> None:
        self._maker = maker

    def publish(self, house: House, sink: str, *, failpoint: str = "") -> Ended:
        """One process delivers the approval that stands, until it is done or killed."""
        [ended] = self.publish_at_once(house, sink, 1, failpoint=failpoint)
        return ended

    def publish_at_once(self, house: House, sink: str, n_processes: int, *, failpoint: str = "") -> list[Ended]:
        """Several deliver the same approval: each has found it before the first begins."""
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        orders = Orders(str(house.home), house.settings.ledger_url, sink, failpoint, n_processes)
        self._maker.stdin.write(json.dumps(asdict(orders)) + "\n")
        self._maker.stdin.flush()
        return [Ended(**said) for said in json.loads(self._maker.stdout.readline())]

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """It closes when its last processes have ended."""
        command = [sys.executable, "-m", __name__]
        with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as maker:
            yield cls(maker)
            assert maker.stdin is not None
            maker.stdin.close()


def work(orders: Orders, begin: Callable[[], object]) -> dict[str, object]:
    """Deliver the approval that stands, live or consumed; what to say of it."""
    settings = make_settings(Path(orders.home), orders.ledger_url)
    with closing(Ledger(settings.ledger_url)) as ledger:
        approval = find_standing(ledger, RUN, orders.sink, now=time.time())
        begin()
        assert isinstance(approval, Approval)
        try:
            receipts = deliver_release(approval, ledger=ledger, settings=settings)
        except OvernightError as error:
            return {"found": approval.state, "why": str(error)}
        return {"found": approval.state, "states": {r.row_id: r.state for r in receipts}}


def main() -> None:
    """Carry out orders until there are no more."""
    for line in sys.stdin:
        orders = Orders(**json.loads(line))
        together = multiprocessing.get_context("fork").Barrier(orders.n_processes, timeout=_GATHER_S)
        forks = [_fork(orders, together.wait) for _ in range(orders.n_processes)]
        print(json.dumps([_wait(*fork) for fork in forks]), flush=True)  # noqa: T201 - its one output


def _fork(orders: Orders, begin: Callable[[], object]) -> tuple[int, int]:
    """The process, and where its last word can be read: short enough for the pipe to hold it."""
    reads, writes = os.pipe()
    if (pid := os.fork()) == 0:
        os._exit(_carry_out(orders, begin, writes))
    os.close(writes)
    return pid, reads


def _wait(pid: int, reads: int) -> dict[str, object]:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(reads, "rb") as file:
        said: dict[str, object] = json.loads(file.read() or b"{}")
    return said | {"code": code}


def _carry_out(orders: Orders, begin: Callable[[], object], writes: int) -> int:
    os.environ["OVERNIGHT_FAILPOINT"] = orders.failpoint
    importlib.reload(failpoints)
    try:
        said = work(orders, begin)
        os.write(writes, json.dumps(said | {"peak_mb": _read_peak_mb()}).encode())
    except BaseException:  # noqa: BLE001 - a fork must not go on as its maker
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _read_peak_mb() -> float:
    """Of this process alone: what `getrusage` says would be its maker's, too."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
