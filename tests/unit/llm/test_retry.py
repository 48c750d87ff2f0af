from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from overnight.failures import CallFailed
from overnight.llm import keep_asking, repeating_passes
from overnight.llm.retry import retrying
from overnight.taxonomy import TREATMENTS, FailureClass, FailureKind

#: Both ways to ask again: a policy that is called, and the one that is set up at the first failure.
WAYS = {"retrying": lambda send, **how: retrying(**how)(send), "keep_asking": keep_asking}
RETRIED = [c for c in FailureClass if TREATMENTS[c].kind is FailureKind.RETRY]


def fail(failure_class: FailureClass = FailureClass.OVERLOAD, *, goes_on: bool = True, **options) -> CallFailed:
    failure = CallFailed(failure_class, "x", **options)
    failure.goes_on = goes_on
    return failure


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def run(request):
    """Send, each way in turn."""
    return functools.partial(_run, request.param)


def _run(ask, failures: list[BaseException], *, base_s: float = 1.0) -> tuple[list[float], int]:
    """The waits, and the number of sends, where each send fails in turn until the list is used up."""
    waits: list[float] = []
    n_sends = 0

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def send() -> str:
        nonlocal n_sends
        n_sends += 1
        if n_sends <= len(failures):
            raise failures[n_sends - 1]
        return "answer"

    try:
        assert asyncio.run(ask(send, base_s=base_s, sleep=sleep)) == "answer"
    except BaseException as error:
        error.waits, error.n_sends = waits, n_sends
        raise
    return waits, n_sends


@pytest.mark.parametrize("failure_class", RETRIED)
def test_a_passing_fault_is_sent_again_after_a_wait(failure_class, run):
    waits, n_sends = run([fail(failure_class)])
    assert (n_sends, waits[0] >= 1) == (2, True)


def test_what_is_asked_otherwise_is_asked_at_once(run):
    assert run([fail(FailureClass.MALFORMED)]) == ([0.0], 2)


@pytest.mark.parametrize("error", [fail(goes_on=False), ValueError("x")], ids=repr)
def test_everything_else_is_raised_at_once(error, run):
    with pytest.raises(type(error)) as caught:
        run([error])
    assert caught.value is error
    assert caught.value.n_sends == 1


def test_the_last_failure_is_raised_as_it_is(run):
    failures = [fail(), fail(), fail(goes_on=False)]
    with pytest.raises(CallFailed) as caught:
        run(failures)
    assert caught.value is failures[2]


def test_the_backoff_doubles_from_its_base_with_jitter(run):
    waits, _ = run([fail()] * 3, base_s=2.0)
    assert all(low <= wait <= low + 2 for low, wait in zip([2, 4, 8], waits, strict=True))


def test_two_backoffs_do_not_fall_together(run):
    assert len({run([fail()])[0][0] for _ in range(5)}) > 1


def test_the_backoff_ends_at_a_minute(run):
    assert max(run([fail()] * 11)[0]) == 60


def test_a_base_of_nothing_does_not_wait(run):
    assert run([fail()] * 3, base_s=0.0)[0] == [0, 0, 0]


def test_the_wait_that_the_provider_asks_for_is_obeyed_to_two_minutes(run):
    failures = [fail(FailureClass.RATE_LIMIT, retry_after_s=s) for s in (7.5, 0.0, 120.0, 900.0)]
    first, second, *others = run(failures)[0]
    assert (first, others) == (7.5, [120.0, 120.0])
    assert second >= 2  # no time at all is no wish to be asked at once


def test_a_pause_between_passes_is_as_long_as_what_is_waited_for():
    pauses: list[float] = []
    passes = repeating_passes(base_s=0.0, stopping=threading.Event(), find_least_s=lambda: 7.0)
    passes.sleep = pauses.append
    passes(lambda: True)
    assert pauses == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(("n_left", "n_passes"), [([], 1), ([True], 2), ([True] * 9, 4)])
def test_passes_go_on_while_rows_are_left_four_at_the_most(n_left, n_passes):
    left, done = list(n_left), []
    repeating_passes(base_s=0.0, stopping=threading.Event())(lambda: done.append(1) or (left.pop() if left else False))
    assert len(done) == n_passes


def test_a_run_that_stops_does_not_wait_for_its_next_pass():
    stopping = threading.Event()
    stopping.set()
    repeating_passes(base_s=600.0, stopping=stopping)(lambda: True)
