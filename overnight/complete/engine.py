"""One event loop, one limiter and one lane a model for the whole process, shared by all batches."""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from overnight.complete.context import RunContext
from overnight.complete.elsewhere import Elsewhere
from overnight.complete.lane import Lane
from overnight.complete.money import Money, recall_halt
from overnight.complete.pulse import Heard, Pulse
from overnight.complete.sharing import Shares
from overnight.failures import CallFailed, RunHalted
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.halts import clear_halt, find_halts, record_halt
from overnight.ledger.provider_batch_items import Arrived, take_arrived
from overnight.ledger.spend import Cap, run_scope
from overnight.ledger.terms import find_budget
from overnight.llm import Breaker, Limiter, Rates, find_terms, make_client, parse_model
from overnight.settings import Settings
from overnight.taxonomy import FailureClass
from overnight.telemetry import open_telemetry

if TYPE_CHECKING:
    from overnight.telemetry.spans import Telemetry

T = TypeVar("T")

#: Objects that are made before the collector looks at them.
_GC_THRESHOLD = 20_000
#: How long one thread may keep the others waiting.
_SWITCH_EVERY_S = 0.001


class Engine:
    """
    Runs the calls of all batches of a process.

    At most `settings.concurrency` are in flight, with those of all other processes that ask by the same ledger now.
    """

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.limiter = Limiter(settings.concurrency)
        #: The embedded model takes one row at a time, and a row that waits for it holds nobody else's slot.
        self.local_limiter = Limiter(1)
        self.money = Money(ledger, patience_s=settings.call_timeout_s)
        self.elsewhere = Elsewhere(ledger)
        self.pulse = Pulse(ledger, self._heed)
        self.shares = Shares(self.limiter, settings.concurrency)
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

    def begin_pass(self, run_id: str, pass_id: int = 0) -> RunContext:
        """A fresh context: what halted an earlier pass of the run may be mended, here and in other processes."""
        with self._opening:
            context = self._open_context(run_id, pass_id)
            context.cleared = self.ledger.submit(lambda connection: clear_halt(connection, run_id, pass_id))
            return context

    def join_pass(self, run_id: str, pass_id: int, *, n_processes: int) -> RunContext:
        """
        The context of a pass that another process has begun; a halt that it has met by now is heard.

        Args:
            run_id: The run.
            pass_id: The pass, as the ledger counts them.
            n_processes: How many join it, as far as is known: the first calls are divided among so many.

        Raises:
            RunHalted: A newer pass of the run has begun here.
        """
        with self._opening:
            context = self._runs.get(run_id)
            if context and context.pass_id > pass_id:
                raise RunHalted(_describe_newer(run_id))
            if context is None or context.pass_id != pass_id:
                context = self._open_context(run_id, pass_id)
                self._loop.call_soon_threadsafe(self.shares.expect, n_processes)
        self.hear(run_id)
        return context

    def hear(self, run_id: str) -> None:
        """Look whether another process has halted the run."""
        halts = self.ledger.read(lambda connection: find_halts(connection, [run_id]))
        self._heed_halts(halts)

    def _open_context(self, run_id: str, pass_id: int) -> RunContext:
        """It takes the place of an earlier pass's, whose rows are not asked any more: this one asks them."""
        cap = Cap(run_scope(run_id), self._find_budget(run_id, pass_id))
        context = RunContext(run_id, cap, self._loop, pass_id=pass_id, n_in_flight=self.settings.concurrency)
        context.tell = functools.partial(self._tell_halt, run_id, pass_id)
        earlier, self._runs[run_id] = self._runs.get(run_id), context
        if earlier and earlier.pass_id != pass_id:
            earlier.hear(CallFailed(FailureClass.STOPPED, _describe_newer(run_id)))
        return context

    def _find_budget(self, run_id: str, pass_id: int) -> float | None:
        """What is pinned with the run holds in all of its processes, whatever they are told; a pass has pinned it."""
        pinned = self.ledger.read(lambda connection: find_budget(connection, run_id)) if pass_id else None
        return self.settings.budget_usd if pinned is None else pinned

    def _tell_halt(self, run_id: str, pass_id: int, failure: CallFailed) -> None:
        """Not waited for: it may be told in a signal's handler, or by whoever cannot write any more."""
        now = time.time()
        self.ledger.submit(lambda connection: record_halt(connection, run_id, pass_id, failure, now))

    def _heed(self, heard: Heard) -> None:
        self._heed_halts(heard.halts)
        made = [(str(lane.model), lane.rates) for lane in self._list_lanes()]
        assert self.elsewhere.worker is not None, "a lane is made before anything is asked"  # noqa: S101 - narrows the type
        self.shares.heed(heard.asking, self.elsewhere.worker.worker_id, made)

    def _heed_halts(self, halts: Mapping[tuple[str, int], CallFailed]) -> None:
        """What stops a pass stops those before it too, and none after it."""
        for (run_id, pass_id), failure in halts.items():
            context = self._runs.get(run_id)
            # What an earlier one of the same number left there is still to be cleared.
            if context and context.pass_id <= pass_id and context.cleared.done():
                context.hear(recall_halt(failure))

    def take_arrived(self, connection: sa.Connection, keys: Sequence[str]) -> list[Arrived | None]:
        """For each request the answer that came with a provider batch, where it is this process that judges it."""
        assert self.elsewhere.worker is not None, "a lane is made before anything is taken"  # noqa: S101 - narrows the type
        found = take_arrived(connection, self.elsewhere.worker, keys)
        return [found.get(key) for key in keys]

    async def lane(self, model: str, endpoint: str) -> Lane:
        """The process's lane to a model."""
        key = (model, endpoint)
        if key not in self._lanes:
            self._lanes[key] = asyncio.ensure_future(self._make_lane(model, endpoint))
        return await self._lanes[key]

    def list_silent(self) -> list[str]:
        """The models that do not answer now, and are asked by one call at a time."""
        return [str(lane.model) for lane in self._list_lanes() if lane.breaker.is_open]

    def _list_lanes(self) -> list[Lane]:
        made = [task for task in list(self._lanes.values()) if task.done() and not task.cancelled()]
        return [task.result() for task in made if not task.exception()]

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
        await self.pulse.aclose()
        for making in self._lanes.values():
            if making.done() and not making.cancelled() and not making.exception():
                await making.result().client.aclose()


def _describe_newer(run_id: str) -> str:
    return f"A newer pass of run {run_id} has begun. What was answered is kept: the newer one goes on with the rest."


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
