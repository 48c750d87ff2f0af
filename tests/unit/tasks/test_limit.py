"""The limit counts work alone, and nothing of it outlives the run."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.records import RunState
from tasks.limit import Stopwatch, _end
from tasks.run import Run
from tests.conftest import House


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


def test_a_stage_that_fails_does_not_keep_the_next_from_its_turn() -> None:
    over = threading.Event()

    def fail() -> None:
        raise LedgerRefused("The ledger is away.")

    stopwatch = _start((0.01, fail), (0.02, over.set))
    assert over.wait(5)
    stopwatch.stop()


@pytest.fixture
def held(house: House) -> Iterator[Run]:
    """A run whose ledger writes nothing for as long as the test lasts."""
    release, is_held = threading.Event(), threading.Event()

    def hold(_: sa.Connection) -> None:
        is_held.set()
        release.wait(30)

    held = house.ledger.submit(hold)
    assert is_held.wait(5)
    yield Run("run-1", "flow", deployed=True, settings=house.settings, ledger=house.ledger)
    release.set()
    held.result(10)


def test_a_state_that_the_ledger_does_not_take_in_time_is_an_error_of_one_line(held: Run) -> None:
    with pytest.raises(LedgerRefused, match=r"^That run run-1 is halted was not recorded within 0.05 s\. Look"):
        held.set_state(RunState.HALTED, within_s=0.05)


def test_a_process_that_hangs_is_signalled_whatever_the_ledger_says(held: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.limit.NOTED_S", 0.05)
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with pytest.raises(LedgerRefused):
            _end(held)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
