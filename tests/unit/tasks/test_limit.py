"""The limit counts work alone, and nothing of it outlives the run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tasks.limit import Stopwatch


def _start(*stages: tuple[float, Callable[[], None]]) -> Stopwatch:
    stopwatch = Stopwatch(stages)
    stopwatch.start()
    return stopwatch


def test_each_stage_comes_in_its_turn() -> None:
    reached, over = [], threading.Event()
    stopwatch = _start((0.01, lambda: reached.append("halt")), (0.02, lambda: reached.append("end")), (0.03, over.set))
    assert over.wait(5)
    assert reached == ["halt", "end"]
    stopwatch.stop()


def test_what_is_stopped_does_nothing_any_more_and_leaves_no_thread() -> None:
    reached = threading.Event()
    stopwatch = _start((3600.0, reached.set))
    stopwatch.stop()
    assert (stopwatch.is_alive(), reached.is_set()) == (False, False)


def test_waiting_does_not_count() -> None:
    reached = threading.Event()
    stopwatch = _start((0.2, reached.set))
    began = time.monotonic()
    with stopwatch.standing_still():
        assert not reached.wait(0.5)
    assert reached.wait(5)
    # It had worked a little before it stood still, and the rest came afterwards.
    assert time.monotonic() - began >= 0.65
    stopwatch.stop()
