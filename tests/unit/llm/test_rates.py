from __future__ import annotations

import asyncio

import pytest

from overnight.llm.rates import Rates
from tests.fakes import virtual_time
from tests.fakes.virtual_time import clock


def _rates(requests_per_minute, tokens_per_minute):
    return Rates(requests_per_minute, tokens_per_minute, clock=clock)


def _times(rates: Rates, amounts: list[int]) -> list[float]:
    """When each of these requests, asked for at once, is let through."""

    async def crowd() -> list[float]:
        began, times = clock(), [0.0] * len(amounts)

        async def admit(n: int) -> None:
            await rates.admit(amounts[n])
            times[n] = clock() - began

        await asyncio.gather(*[admit(n) for n in range(len(amounts))])
        return times

    return virtual_time.run(crowd())


def _most_in_a_minute(times: list[float]) -> int:
    return max(sum(start <= t < start + 60 - 1e-6 for t in times) for start in times)


def test_without_limits_nobody_waits():
    assert max(_times(_rates(None, None), [10**9] * 50)) < 1e-6


@pytest.mark.parametrize("per_minute", [1, 7, 60, 61, 600])
def test_no_minute_has_more_requests_than_allowed_and_hardly_fewer(per_minute):
    times = _times(_rates(per_minute, None), [1] * (4 * per_minute))
    assert _most_in_a_minute(times) <= per_minute
    assert times[-1] <= 4 * 60 * 1.02


def test_a_second_s_worth_goes_at_once_and_not_a_minute_s():
    times = _times(_rates(600, None), [1] * 100)
    assert sum(t < 1e-6 for t in times) == 10
    assert sum(t <= 1.001 for t in times) == pytest.approx(20, abs=1)


def test_tokens_are_let_through_at_their_rate():
    times = _times(_rates(None, 60_000), [500] * 240)
    assert times[-1] == pytest.approx(120, rel=0.02)
    assert 500 * sum(t < 60 for t in times) <= 60_000


def test_a_request_of_more_than_a_minute_waits_for_a_minute_s_worth_and_goes():
    whole, after = _times(_rates(None, 6000), [10**7, 100])
    assert whole == pytest.approx(60, rel=0.02)
    assert after == pytest.approx(whole + 1, abs=0.1)


def test_a_long_request_is_not_passed_by_short_ones():
    times = _times(_rates(None, 6000), [100, 3000, *[10] * 20])
    assert times == sorted(times)


def test_a_newcomer_does_not_pass_who_waits():
    async def crowd() -> list[str]:
        rates, order = _rates(60, None), []

        async def admit(name: str) -> None:
            await rates.admit(0)
            order.append(name)

        await admit("first")
        waiting = [asyncio.create_task(admit(n)) for n in "ab"]
        await asyncio.sleep(0.999)
        waiting.append(asyncio.create_task(admit("late")))
        await asyncio.gather(*waiting)
        return order

    assert virtual_time.run(crowd()) == ["first", "a", "b", "late"]


def test_the_scarcer_of_both_limits_counts():
    assert _times(_rates(60, 6000), [1] * 31)[-1] == pytest.approx(30, rel=0.02)
    assert _times(_rates(6000, 6000), [200] * 31)[-1] == pytest.approx(61, rel=0.02)


def test_no_tokens_at_all_are_a_request_all_the_same():
    assert _times(_rates(60, 60), [0] * 3) == pytest.approx([0, 1, 2], abs=1e-6)


def test_a_waiter_that_is_cancelled_holds_nobody_up():
    async def cancel() -> float:
        rates, began = _rates(None, 6000), clock()
        first = asyncio.create_task(rates.admit(6000))
        second = asyncio.create_task(rates.admit(100))
        third = asyncio.create_task(rates.admit(100))
        await asyncio.sleep(1)
        first.cancel()
        second.cancel()
        await third
        return clock() - began

    assert virtual_time.run(cancel()) < 3


def test_two_thousand_may_wait():
    times = _times(_rates(60_000, 60_000_000), [1000] * 2000)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("per_minute", "n"), [(60, 2), (600, 3), (7, 2)])
def test_processes_that_share_a_limit_keep_to_it_together(per_minute, n):
    shared = []
    for _ in range(n):
        rates = _rates(per_minute, None)
        rates.share(n)
        shared += _times(rates, [1] * (2 * per_minute // n + 2))
    assert per_minute - 2 * n <= _most_in_a_minute(shared) <= per_minute


def test_a_large_request_costs_a_share_as_many_tokens_as_it_cost_alone():
    rates = _rates(None, 6000)
    rates.share(2)
    alone = _times(_rates(None, 6000), [6000, 1])
    assert _times(rates, [6000, 1])[0] == pytest.approx(2 * alone[0], rel=0.05)
