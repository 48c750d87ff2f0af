"""One event loop, one limiter and one client a model for the whole process, shared by all batches."""

from __future__ import annotations

import asyncio
import atexit
import functools
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from overnight.failures import CallFailed
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.queries import spent_usd
from overnight.llm import Budget, Client, Limiter, make_client, parse_model
from overnight.records import Prompt
from overnight.settings import Settings

T = TypeVar("T")


@dataclass
class Progress:
    """How far a run has come, in rows; read by whoever shows it."""

    total: int = 0
    done: int = 0
    hits: int = 0
    calls: int = 0
    quarantined: int = 0


@dataclass
class RunContext:
    """What the rows of one run share in this process."""

    run_id: str
    budget: Budget
    #: Why the run stops; rows that have not been sent yet are not sent any more.
    halted: CallFailed | None = None
    progress: Progress = field(default_factory=Progress)


class Engine:
    """Runs the calls of all batches of a process, at most `settings.concurrency` in flight."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.limiter = Limiter(settings.concurrency)
        self.local_limiter = Limiter(1)
        #: Rows whose attempt is open: a few wait for their slot, so that a slot never waits for them.
        self.window = asyncio.Semaphore(2 * settings.concurrency)
        #: Requests being asked now, by key: the same request is asked once, whichever batches hold it.
        self.asking: dict[str, asyncio.Task[Any]] = {}
        self._clients: dict[tuple[str, str], asyncio.Task[Client]] = {}
        self._runs: dict[str, RunContext] = {}
        # Reentrant: an interrupt may come while the main thread holds it, and its handler asks for the context.
        self._opening = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the engine's loop, from any other thread, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def limiter_of(self, prompt: Prompt) -> Limiter:
        """Who may send: the embedded model takes one row at a time, and a row that waits for it holds no slot."""
        return self.local_limiter if parse_model(prompt.model).provider == "local" else self.limiter

    def context(self, run_id: str) -> RunContext:
        """What the rows of this run share."""
        with self._opening:
            return self._runs.get(run_id) or self._begin(run_id)

    def begin_pass(self, run_id: str) -> RunContext:
        """A fresh context: what halted an earlier pass of the run may be mended."""
        with self._opening:
            return self._begin(run_id)

    def _begin(self, run_id: str) -> RunContext:
        with self.ledger.reading() as connection:
            spent = spent_usd(connection, run_id)
        self._runs[run_id] = RunContext(run_id, Budget(self.settings.budget_usd, spent))
        return self._runs[run_id]

    async def client(self, prompt: Prompt) -> Client:
        """The process's client for the prompt's model."""
        key = (prompt.model, prompt.endpoint)
        if key not in self._clients:
            making = make_client(
                parse_model(prompt.model),
                endpoint=prompt.endpoint,
                timeout_s=self.settings.call_timeout_s,
                concurrency=self.settings.concurrency,
            )
            self._clients[key] = asyncio.ensure_future(making)
        return await self._clients[key]

    def close(self) -> None:
        """Close the clients (an embedded model ends with its client) and stop the loop."""
        self.run(self._close_clients())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close_clients(self) -> None:
        for making in self._clients.values():
            if making.done() and not making.cancelled() and not making.exception():
                await making.result().aclose()


#: Reentrant for the same reason.
_making = threading.RLock()


def get_engine(settings: Settings) -> Engine:
    """The process's engine for these settings."""
    with _making:
        return _get_engine(settings)


@functools.cache
def _get_engine(settings: Settings) -> Engine:
    engine = Engine(settings, open_ledger(settings.ledger_url))
    atexit.register(engine.close)
    return engine
