"""SIGTERM ends a run after the calls in flight, which are paid for."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from overnight.failures import CallFailed
from overnight.taxonomy import FailureClass
from tasks.run import Run


@contextlib.contextmanager
def halting_on_sigterm(run: Run) -> Iterator[None]:
    """
    The first SIGTERM lets nobody be asked any more, and what is in flight come back.

    The second, and one while no step is being completed, is for whoever took it before: Prefect, which ends the flow
    run at once. A flow outside the main thread hears of none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def halt(signum: int, _: FrameType | None) -> None:
        context = run.engine.context(run.run_id)
        if context.halted or not context.is_completing:
            signal.signal(signum, before)
            signal.raise_signal(signum)
        else:
            context.halt(CallFailed(FailureClass.STOPPED, "It was ended by SIGTERM."))

    before = signal.signal(signal.SIGTERM, halt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
