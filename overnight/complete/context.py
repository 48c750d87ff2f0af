"""What the rows of one run share in this process: how far it has come, and whether it stops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from overnight.complete.provider.packing import Packer
from overnight.failures import CallFailed, RunHalted
from overnight.ledger.halts import name_group
from overnight.ledger.spend import Cap
from overnight.taxonomy import MAX_SAME_BAD_REQUEST, FailureClass

#: The longest pause before a pass: rows whose provider asks for more are left to the next run.
MAX_PAUSE_S = 600.0


@dataclass
class Progress:
    """How far a run has come, in rows; read by whoever shows it."""

    total: int = 0
    done: int = 0
    hits: int = 0
    calls: int = 0
    quarantined: int = 0


@dataclass
class _BadRequests:
    """Rows that failed with the same bad request, and how many answers there were before the first of them."""

    n_accepted_before: int
    keys: set[str] = field(default_factory=set)


def _make_done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


@dataclass
class RunContext:
    """One run, as this process works on it."""

    run_id: str
    #: What the run may spend.
    cap: Cap
    #: Where its rows are asked.
    loop: asyncio.AbstractEventLoop
    #: Why the run stops; rows that have not been sent yet are not sent any more.
    halted: CallFailed | None = None
    #: Lets other processes know of it.
    tell: Callable[[CallFailed], None] = lambda _: None
    #: Which pass of the run, as the ledger counts them; 0: it is asked outside a flow run.
    pass_id: int = 0
    #: When what stopped an earlier one of the same number is forgotten.
    cleared: Future[None] = field(default_factory=_make_done)
    progress: Progress = field(default_factory=Progress)
    #: Whether a step's batches are being completed: there is something to stop, whatever the counts say of it.
    is_completing: bool = False
    #: Calls that may be in flight at once.
    n_in_flight: int = 1
    #: Answers that were accepted since the flow run began.
    n_accepted: int = 0
    #: Requests that failed with the bad request that halted the run, where nothing was answered since the first of
    #: them but what was in flight then: it is not the rows' fault.
    blameless: set[str] = field(default_factory=set)
    #: When the provider wants to be asked again for rows that were left: by request key, in seconds since the epoch.
    due: dict[str, float] = field(default_factory=dict)
    #: Set with `halted`, for whoever waits in a thread.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: Rows that wait for something that may take minutes: they hear at once that the run stops.
    #: Puts rows into provider batches; None: they are asked online.
    packer: Packer | None = None
    #: Whether rows of the run are with a provider, or about to be: what is set aside for them comes back.
    has_batches: bool = False
    #: Answers that came with provider batches, and that are judged in this pass: their money comes back with it.
    n_arrived: int = 0
    #: Rows of each batch of the step, by its number, that are with a provider, and of those that may be.
    n_in_batches: dict[int, int] = field(default_factory=dict)
    n_in_doubt: dict[int, int] = field(default_factory=dict)
    #: Turns in a row after which nothing was with a provider, though rows waited for one.
    n_idle_turns: int = 0
    #: Whether the run is to be done by some time: what batches do not answer is asked online.
    has_deadline: bool = False
    #: Provider batches, of whichever run, that have rows of this one.
    awaited: set[str] = field(default_factory=set)
    #: What somebody beside the run is told of it, one line each.
    notes: list[str] = field(default_factory=list)
    #: Rows that had to be asked otherwise in this pass.
    n_repaired: int = 0
    _waiting: set[asyncio.Task[Any]] = field(default_factory=set)
    _bad_requests: dict[str, _BadRequests] = field(default_factory=dict)

    def halt(self, failure: CallFailed) -> None:
        """Stop the run, from any thread and in all processes; the first reason stays. Calls in flight go on."""
        try:
            if self.halted is None:
                self.tell(failure)
        finally:
            # Here it stops also where the others cannot be told: the ledger may be away.
            self.hear(failure)

    def hear(self, failure: CallFailed) -> None:
        """As `halt`, where everybody knows of it."""
        self.halted = self.halted or failure
        self.stopping.set()
        self.loop.call_soon_threadsafe(self._interrupt)

    async def sleep(self, seconds: float) -> None:
        """
        Wait, unless the run stops.

        Raises:
            RunHalted: It does.
        """
        with self.waiting():
            await asyncio.sleep(seconds)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """
        For as long as a row waits and holds nothing.

        Raises:
            RunHalted: The run stops.
        """
        self.raise_if_halted()
        task = asyncio.current_task()
        assert task is not None, "rows are asked in tasks"  # noqa: S101 - narrows the type
        self._waiting.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self.halted is None:
                raise
            task.uncancel()
            raise RunHalted(str(self.halted)) from None
        finally:
            self._waiting.discard(task)

    def _interrupt(self) -> None:
        for task in self._waiting:
            task.cancel()

    def raise_if_halted(self) -> None:
        """
        Let nobody go on.

        Raises:
            RunHalted: The run stops.
        """
        if self.halted:
            raise RunHalted(str(self.halted))

    def find_due_s(self) -> float:
        """How long until the first row that was left may be asked again; 0 where that is not worth waiting for."""
        waits_s = [at - time.time() for at in self.due.values()]
        return min((s for s in waits_s if 0 < s <= MAX_PAUSE_S), default=0.0)

    def count_bad_request(self, key: str, failure: CallFailed) -> None:
        """The same bad request on so many rows stops the run."""
        group = self._bad_requests.setdefault(name_group(str(failure)), _BadRequests(self.n_accepted))
        group.keys.add(key)
        if len(group.keys) >= MAX_SAME_BAD_REQUEST and not self.halted:
            if self.n_accepted - group.n_accepted_before <= self.n_in_flight:
                self.blameless = group.keys
            line = f"{len(group.keys)} rows failed with the same bad request: {failure}"
            self.halt(CallFailed(FailureClass.BAD_REQUEST, line))
