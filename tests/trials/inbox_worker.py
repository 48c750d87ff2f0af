"""
`python -m tests.trials.inbox_worker`: makes processes that take requests and have them answered, or deliver answers.

All that takes time is imported once; each line of orders on standard input is then carried out by a fork, which leaves
what it came to in a file.
"""

from __future__ import annotations

import importlib
import json
import os
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

import overnight.llm.openai_chat  # noqa: F401 - the same
from overnight import failpoints
from overnight.approve import find_standing
from overnight.complete import Engine
from overnight.deliver import deliver_release
from overnight.inbox.drain import pin_requests
from overnight.inbox.settle import has_waiting, settle_run
from overnight.intake.inbox import InboxSource
from overnight.ledger import Ledger
from overnight.ledger.manifests import record_batches, record_part
from overnight.llm import parse_model, worst_usd
from overnight.records import Approval, CheckedBatch
from tests.conftest import House, make_settings
from tests.trials import shared_worker
from tests.trials.night import Night

SOURCE = InboxSource("sort")
SINK = str(SOURCE)
#: One with a price.
MODEL = "openai:gpt-4o"


@dataclass(frozen=True)
class Orders:
    """What one process does."""

    home: str
    ledger_url: str
    endpoint: str
    run_id: str
    #: How many requests it takes at the most; None: it delivers what was approved of its run.
    limit: int | None
    concurrency: int
    #: Where it is killed; nowhere.
    failpoint: str = ""


class Process(shared_worker.Process):
    """One that works."""

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send(signal.SIGKILL)
        assert self.read() is None

    def read(self) -> dict[str, Any] | None:
        """What it came to, once it has ended; None where it was killed."""
        self.wait_end(3000)
        return json.loads(self._result.read_text()) if self._result.exists() else None


class Workers:
    """Where such processes are made."""

    def __init__(self, maker: subprocess.Popen[str], folder: Path) -> None:
        self._maker = maker
        self._folder = folder
        self.made: list[Process] = []

    def start(self, orders: Orders) -> Process:
        """A process that begins to work now."""
        assert self._maker.stdin is not None
        assert self._maker.stdout is not None
        result = self._folder / f"{len(self.made)}.json"
        self._maker.stdin.write(json.dumps([str(result), asdict(orders)]) + "\n")
        self._maker.stdin.flush()
        self.made.append(process := Process(int(self._maker.stdout.readline()), result))
        return process

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """Those that are still there at the end are killed."""
        environment = os.environ | {"OPENAI_API_KEY": "sk-fake-0123456789abcdef"}
        command = [sys.executable, "-m", __name__]
        with subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as maker:
            try:
                yield (workers := cls(maker, folder))
            finally:
                for process in workers.made:
                    process.close()
                maker.stdin and maker.stdin.close()


def work(orders: Orders, limit: int) -> dict[str, Any]:
    """Take what waits, have it answered, and offer the answers."""
    home = Path(orders.home)
    settings = make_settings(home, orders.ledger_url, concurrency=orders.concurrency)
    with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
        house = House(settings, ledger)
        prompt = house.make_prompt(model=MODEL, endpoint=orders.endpoint)
        how: dict[str, Any] = {"ledger": ledger, "place": home, "lease_s": settings.lease_s}
        if not has_waiting(SOURCE, now=time.time(), **how):
            return {"n_rows": 0}
        house.begin(orders.run_id)
        batches = pin_requests(SOURCE, prompt, orders.run_id, limit=limit, **how)
        ended = Night(house, engine, prompt, batches, orders.run_id).work()
        ledger.write(lambda connection: record_batches(connection, orders.run_id, list(ended.completed)))
        checked = []
        for b in ended.completed:
            counts = (b.n_accepted, b.n_quarantined, b.n_pending)
            checked.append(one := CheckedBatch(b.n, b.part, prompt.prompt_hash, prompt.checks_hash, *counts))
            key = f"check-{orders.run_id}-{b.part.digest}-{b.n}"
            ledger.write(lambda c, k=key, o=one: record_part(c, k, o, time.time()))  # type: ignore[misc]
        house.offer_checked(checked, prompt, sink=SINK, run_id=orders.run_id, now=time.time())
        settle_run(orders.run_id, now=time.time(), **how)
        return {"n_rows": sum(b.n_rows for b in batches), "n_pending": ended.n_pending, "why": ended.why}


def publish(orders: Orders) -> dict[str, Any]:
    """Deliver the approval of its run."""
    settings = make_settings(Path(orders.home), orders.ledger_url)
    with closing(Ledger(settings.ledger_url)) as ledger:
        approval = find_standing(ledger, orders.run_id, SINK, now=time.time())
        assert isinstance(approval, Approval)
        receipts = deliver_release(approval, ledger=ledger, settings=settings)
        return {"n_delivered": sum(r.state == "delivered" for r in receipts), "n_rows": len(receipts)}


def main() -> None:
    """Carry out orders until there are no more."""
    # Nobody waits for the forks: whoever was killed is gone, and no zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    worst_usd(parse_model(MODEL), b"", 0)  # reads the list of prices
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            result, given = json.loads(line)
            os._exit(_carry_out(Path(result), Orders(**given)))
        print(pid, flush=True)  # noqa: T201 - its one output


def _carry_out(result: Path, orders: Orders) -> int:
    os.environ["OVERNIGHT_FAILPOINT"] = orders.failpoint
    importlib.reload(failpoints)
    try:
        done = publish(orders) if orders.limit is None else work(orders, orders.limit)
    except BaseException:  # noqa: BLE001 - a fork must not go on as its maker
        sys.excepthook(*sys.exc_info())
        return 1
    result.write_text(json.dumps(done))
    return 0


if __name__ == "__main__":
    main()
