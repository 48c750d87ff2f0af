"""One event loop, one limiter and one lane a model for the whole process, shared by all batches."""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import sys
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from overnight.complete.context import RunContext
from overnight.complete.elsewhere import Elsewhere
from overnight.complete.lane import Lane
from overnight.complete.money import Money
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.spend import Cap, run_scope
from overnight.llm import Breaker, Limiter, Rates, find_terms, make_client, parse_model
from overnight.settings import Settings
from overnight.telemetry import open_telemetry

if TYPE_CHECKING:
    from overnight.telemetry.spans import Telemetry

T = TypeVar("T")

#: Objects that are made before the collector looks at them.
_GC_THRESHOLD = 20_000
#: How long one thread may keep the others waiting.
_SWITCH_EVERY_S = 0.001


class Engine:
    """Runs the calls of all batches of a process, at most `settings.concurrency` in flight."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.limiter = Limiter(settings.concurrency)
        #: The embedded model takes one row at a time, and a row that waits for it holds nobody else's slot.
        self.local_limiter = Limiter(1)
        self.money = Money(ledger, patience_s=settings.call_timeout_s)
        self.elsewhere = Elsewhere(ledger)
        #: Requests being asked now, by key: the same request is asked once, whichever batches hold it.
        self.asking: dict[str, asyncio.Future[Any]] = {}
        self.telemetry: Telemetry | None
        #: Where it is asked for in vain: why, in a line for the log.
        self.telemetry_warning: str | None
        self.telemetry, self.telemetry_warning = open_telemetry()
        self._lanes: dict[tuple[str, str], asyncio.Task[Lane]] = {}
        self._runs: dict[str, RunContext] = {}
        # Reentrant: an interrupt may come while the main thread holds it, and its handler asks for the context.
        self._opening = threading.RLock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the engine's loop, from any other thread, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def context(self, run_id: str) -> RunContext:
        """What the rows of this run share."""
        with self._opening:
            return self._runs.get(run_id) or self.begin_pass(run_id)

    def begin_pass(self, run_id: str) -> RunContext:
        """A fresh context: what halted an earlier pass of the run may be mended."""
        with self._opening:
            cap = Cap(run_scope(run_id), self.settings.budget_usd)
            self._runs[run_id] = RunContext(run_id, cap, self._loop, n_in_flight=self.settings.concurrency)
            return self._runs[run_id]

    async def lane(self, model: str, endpoint: str) -> Lane:
        """The process's lane to a model."""
        key = (model, endpoint)
        if key not in self._lanes:
            self._lanes[key] = asyncio.ensure_future(self._make_lane(model, endpoint))
        return await self._lanes[key]

    def list_silent(self) -> list[str]:
        """The models that do not answer now, and are asked by one call at a time."""
        made = [task for task in list(self._lanes.values()) if task.done() and not task.cancelled()]
        lanes = [task.result() for task in made if not task.exception()]
        return [str(lane.model) for lane in lanes if lane.breaker.is_open]

    async def _make_lane(self, model: str, endpoint: str) -> Lane:
        # Loop and writer take turns five times as often: a slot is held while an answer waits for its commit.
        sys.setswitchinterval(_SWITCH_EVERY_S)
        self.elsewhere.worker = await asyncio.to_thread(self.money.register, self.settings.lease_s)
        reference, terms = parse_model(model), find_terms(self.settings.terms, model)
        client = await make_client(
            reference,
            endpoint=endpoint,
            timeout_s=self.settings.call_timeout_s,
            concurrency=self.settings.concurrency,
        )
        return Lane(
            reference,
            endpoint,
            client,
            self.local_limiter if reference.provider == "local" else self.limiter,
            Breaker(probe_s=self.settings.probe_s, outage_s=self.settings.outage_s, who=model),
            Rates(terms.requests_per_minute, terms.tokens_per_minute) if terms else Rates(None, None),
            asyncio.Semaphore(2 * self.settings.concurrency),
            terms,
        )

    def close(self) -> None:
        """Close the clients (an embedded model ends with its client) and stop the loop."""
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self.telemetry and (warning := self.telemetry.close()):
            print(warning, file=sys.stderr)  # noqa: T201 - the process ends: the logs of its flow runs are closed

    async def _end(self) -> None:
        await self.elsewhere.aclose()
        for making in self._lanes.values():
            if making.done() and not making.cancelled() and not making.exception():
                await making.result().client.aclose()


#: Reentrant for the same reason.
_making = threading.RLock()


def get_engine(settings: Settings) -> Engine:
    """The process's engine for these settings."""
    with _making:
        return _get_engine(settings)


@functools.cache
def _get_engine(settings: Settings) -> Engine:
    _spare_collector()
    engine = Engine(settings, open_ledger(settings.ledger_url))
    atexit.register(engine.close)
    return engine


def _spare_collector() -> None:
    """
    Let the garbage collector pass over all that was imported, and look for new cycles more seldom.

    It costs a fifth of a row's time otherwise, and finds next to nothing: calls leave few cycles behind.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])
