from __future__ import annotations

import asyncio

import pytest

from overnight.failures import KIND_OF, CallFailed, FailureClass, FailureKind
from overnight.llm import retrying

RETRIED = [c for c in FailureClass if KIND_OF[c] is FailureKind.RETRY]
OTHERS = [c for c in FailureClass if KIND_OF[c] is not FailureKind.RETRY]


def run(failures: list[BaseException], *, base_s: float = 1.0, max_attempts: int = 4) -> tuple[list[float], int]:
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

    policy = retrying(base_s=base_s, max_attempts=max_attempts, sleep=sleep)
    try:
        assert asyncio.run(policy(send)) == "answer"
    except BaseException as error:
        error.waits, error.n_sends = waits, n_sends
        raise
    return waits, n_sends


@pytest.mark.parametrize("failure_class", RETRIED)
def test_a_passing_fault_is_sent_again(failure_class):
    waits, n_sends = run([CallFailed(failure_class, "x")])
    assert (len(waits), n_sends) == (1, 2)


@pytest.mark.parametrize("error", [*(CallFailed(c, "x") for c in OTHERS), ValueError("x")], ids=repr)
def test_everything_else_is_raised_at_once(error):
    with pytest.raises(type(error)) as caught:
        run([error])
    assert caught.value is error
    assert caught.value.n_sends == 1


def test_the_last_failure_is_raised_as_it_is():
    failures = [CallFailed(FailureClass.OVERLOAD, str(n)) for n in range(9)]
    with pytest.raises(CallFailed) as caught:
        run(failures)
    assert caught.value is failures[3]
    assert caught.value.n_sends == 4


def test_the_backoff_doubles_from_its_base_with_jitter():
    waits, _ = run([CallFailed(FailureClass.TIMEOUT, "x")] * 3, base_s=2.0)
    assert all(low <= wait <= low + 2 for low, wait in zip([2, 4, 8], waits, strict=True))


def test_two_backoffs_do_not_fall_together():
    assert len({run([CallFailed(FailureClass.TIMEOUT, "x")])[0][0] for _ in range(5)}) > 1


def test_the_backoff_ends_at_a_minute():
    waits, _ = run([CallFailed(FailureClass.TIMEOUT, "x")] * 11, base_s=1.0, max_attempts=12)
    assert max(waits) == 60


def test_a_base_of_nothing_does_not_wait():
    assert run([CallFailed(FailureClass.TIMEOUT, "x")] * 3, base_s=0.0)[0] == [0, 0, 0]


def test_the_wait_that_the_provider_asks_for_is_obeyed():
    failures = [CallFailed(FailureClass.RATE_LIMIT, "x", retry_after_s=s) for s in (7.5, 0.0, 120.0)]
    assert run(failures)[0] == [7.5, 0.0, 120.0]


def test_a_wait_past_two_minutes_leaves_the_row_for_a_later_pass():
    with pytest.raises(CallFailed) as caught:
        run([CallFailed(FailureClass.RATE_LIMIT, "x", retry_after_s=120.5)])
    assert (caught.value.waits, caught.value.n_sends) == ([], 1)
