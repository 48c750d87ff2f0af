"""How long a pass may work: at its limit the run halts, and what hangs all the same is ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar

from prefect.logging import get_logger

from overnight.failures import CallFailed, OvernightError
from overnight.records import RunState
from overnight.report.notices import describe_span
from overnight.taxonomy import FailureClass
from tasks.run import Run

#: How long a run that was halted has to come to its end: calls in flight, the rows that wait for them, its report.
GRACE_S = 900.0
#: How long the ledger may take to note that a process is ended; it is ended all the same.
NOTED_S = 30.0
#: What is done, and after how many seconds of work.
Stage = tuple[float, Callable[[], None]]


class Stopwatch(threading.Thread):
    """Counts the seconds of work, and does something at some of them; what waits for a person is no work."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__(name="limit", daemon=True)
        self._stages = stages
        self._changed = threading.Condition()
        self._worked_s = 0.0
        #: Since when it runs; None: it stands still.
        self._since: float | None = time.monotonic()
        self._is_over = False

    def run(self) -> None:
        for after_s, act in self._stages:
            if not self._reaches(after_s):
                return
            try:
                act()
            except OvernightError as error:
                # The next stage is there for what this one could not do.
                get_logger("limit").warning("%s", error)

    def stop(self) -> None:
        """End it, before whatever it still had to do."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self.join()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """For as long as nobody works."""
        with self._changed:
            self._worked_s, self._since = self._count(), None
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._since = time.monotonic()
                self._changed.notify()

    def _reaches(self, after_s: float) -> bool:
        with self._changed:
            while not self._is_over and self._count() < after_s:
                self._changed.wait(None if self._since is None else after_s - self._count())
            return not self._is_over

    def _count(self) -> float:
        return self._worked_s + (0.0 if self._since is None else time.monotonic() - self._since)


_stopwatch: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextlib.contextmanager
def halting_at_limit(run: Run) -> Iterator[None]:
    """
    Halt the run when this pass has worked for as long as it may.

    Nobody is asked any more then, and what is in flight comes back: no exception is thrown into the middle of work. A
    worker's process that has not ended a while later hangs: it is ended as by a service manager, and then at once.
    """
    limit_s = run.settings.night_s
    if not limit_s:
        yield
        return
    stages: list[Stage] = [(limit_s, lambda: _halt(run, limit_s))]
    if run.deployed:
        stages += [(limit_s + GRACE_S, lambda: _end(run)), (limit_s + 2 * GRACE_S, _kill)]
    stopwatch = Stopwatch(stages)
    stopwatch.start()
    token = _stopwatch.set(stopwatch)
    try:
        yield
    finally:
        _stopwatch.reset(token)
        stopwatch.stop()


@contextlib.contextmanager
def not_counted() -> Iterator[None]:
    """For what does not count: waiting for a person, and delivering what they let out."""
    stopwatch = _stopwatch.get()
    with stopwatch.standing_still() if stopwatch else contextlib.nullcontext():
        yield


def _halt(run: Run, limit_s: float) -> None:
    line = f"It has worked for {describe_span(limit_s)}, which is its limit (OVERNIGHT_NIGHT_S)."
    run.engine.context(run.run_id).halt(CallFailed(FailureClass.STOPPED, line))


def _end(run: Run) -> None:
    line = f"Run {run.run_id} did not end within {describe_span(GRACE_S)} after its limit: its process was ended."
    try:
        run.set_state(RunState.HALTED, line, within_s=NOTED_S)
    finally:
        # Whatever the ledger says: it may be what the run hangs on.
        _signal(signal.SIGTERM)


def _kill() -> None:
    _signal(signal.SIGKILL)


def _signal(number: signal.Signals) -> None:
    """To the main thread, which may wait for something: a handler runs there alone."""
    signal.pthread_kill(threading.main_thread().ident or 0, number)
