from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from overnight.llm.limiter import Limiter
from tests.fakes import virtual_time
from tests.fakes.virtual_time import clock


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _take(limiter: Limiter, n: int) -> AsyncExitStack:
    stack = AsyncExitStack()
    for _ in range(n):
        await stack.enter_async_context(limiter.slot())
    return stack


def test_no_more_than_n_hold_a_slot_and_the_next_follows_at_once():
    async def crowd() -> list[int]:
        limiter, go, seen = Limiter(3, clock=clock), asyncio.Event(), []

        async def hold() -> None:
            async with limiter.slot():
                seen.append(limiter.in_flight)
                await go.wait()

        held = [asyncio.create_task(hold()) for _ in range(10)]
        await _settle()
        assert len(seen) == limiter.in_flight == 3
        go.set()
        await asyncio.gather(*held)
        assert limiter.in_flight == 0
        return seen

    seen = virtual_time.run(crowd())
    assert len(seen) == 10
    assert max(seen) == 3


def test_a_slot_is_freed_when_its_call_fails():
    async def fail_then_take() -> int:
        limiter = Limiter(1, clock=clock)
        with pytest.raises(ValueError, match="lost"):
            async with limiter.slot():
                raise ValueError("lost")
        async with limiter.slot():
            return limiter.in_flight

    assert virtual_time.run(fail_then_take()) == 1


def test_it_is_made_before_its_loop_runs():
    limiter = Limiter(2)
    assert (limiter.limit, limiter.in_flight) == (2, 0)

    async def take() -> int:
        async with limiter.slot(), limiter.slot():
            return limiter.in_flight

    assert asyncio.run(take()) == 2


def test_one_task_holds_slots_of_two_limiters_and_several_of_one():
    async def hold() -> tuple[int, int]:
        one, other = Limiter(2, clock=clock), Limiter(1, clock=clock)
        async with one.slot(), other.slot(), one.slot():
            return one.in_flight, other.in_flight

    assert virtual_time.run(hold()) == (2, 1)


def test_slots_are_given_in_the_order_of_asking():
    async def queue() -> list[int]:
        limiter, served = Limiter(1, clock=clock), []

        async def serve(n: int) -> None:
            async with limiter.slot():
                served.append(n)
                await asyncio.sleep(1)
                if n < 5:
                    # A newcomer, when the slot is just being freed, does not pass those who wait.
                    late.append(asyncio.create_task(serve(n + 100)))

        late: list[asyncio.Task[None]] = []
        await asyncio.gather(*[serve(n) for n in range(20)])
        await asyncio.gather(*late)
        return served

    assert virtual_time.run(queue()) == [*range(20), 100, 101, 102, 103, 104]


def test_a_waiter_that_is_cancelled_takes_no_slot_even_when_it_was_just_given_one():
    async def cancel() -> int:
        limiter = Limiter(1, clock=clock)
        held = await _take(limiter, 1)
        waiters = [asyncio.create_task(_take(limiter, 1)) for _ in range(3)]
        await _settle()
        waiters[1].cancel()
        await held.aclose()
        waiters[0].cancel()
        await _settle()
        assert [w.cancelled() for w in waiters] == [True, True, False]
        assert waiters[2].done()
        assert limiter.in_flight == 1
        await waiters[2].result().aclose()
        return limiter.in_flight

    assert virtual_time.run(cancel()) == 0


def test_the_limit_grows_by_one_for_as_many_successes_as_it_is_and_no_further_than_most():
    async def grow() -> list[int]:
        changes: list[int] = []
        limiter = Limiter(8, clock=clock, on_change=changes.append)
        limiter.slow_down()
        for _ in range(4 + 5 + 6 + 6):
            limiter.succeeded()
        assert limiter.limit == 7
        for _ in range(100):
            limiter.succeeded()
        assert limiter.limit == 8
        return changes

    assert virtual_time.run(grow()) == [4, 5, 6, 7, 8]


def test_the_limit_is_halved_at_most_once_a_second_and_to_one_at_the_least():
    async def slow() -> list[int]:
        changes: list[int] = []
        limiter = Limiter(16, clock=clock, on_change=changes.append)
        for _ in range(100):
            limiter.slow_down()
        assert limiter.limit == 8
        await asyncio.sleep(0.9)
        limiter.slow_down()
        assert limiter.limit == 8
        for _ in range(6):
            await asyncio.sleep(1.1)
            limiter.slow_down()
        return changes

    assert virtual_time.run(slow()) == [8, 4, 2, 1]


def test_successes_before_a_halving_do_not_count_after_it():
    async def grow() -> int:
        limiter = Limiter(8, clock=clock)
        for _ in range(7):
            limiter.succeeded()
        limiter.slow_down()
        limiter.succeeded()
        return limiter.limit

    assert virtual_time.run(grow()) == 4


def test_a_lowered_limit_takes_no_slot_away_and_lets_nobody_in_until_enough_are_free():
    async def lower() -> None:
        limiter = Limiter(4, clock=clock)
        held = [await _take(limiter, 1) for _ in range(4)]
        limiter.slow_down()
        waiter = asyncio.create_task(_take(limiter, 1))
        for n in (4, 3, 2):
            await _settle()
            assert (limiter.in_flight, waiter.done()) == (n, False)
            await held.pop().aclose()
        await _settle()
        assert (limiter.in_flight, waiter.done()) == (2, True)

    virtual_time.run(lower())


def test_a_raised_limit_lets_who_waits_in_at_once():
    async def raise_limit() -> int:
        limiter = Limiter(2, clock=clock)
        limiter.slow_down()
        async with limiter.slot():
            waiter = asyncio.create_task(_take(limiter, 1))
            await _settle()
            assert not waiter.done()
            limiter.succeeded()
            await _settle()
            assert waiter.done()
            return limiter.in_flight

    assert virtual_time.run(raise_limit()) == 2


def test_while_it_is_held_nobody_gets_a_slot_and_then_all_that_fit_do():
    async def hold() -> list[float]:
        limiter, began, times = Limiter(3, clock=clock), clock(), []

        async def take() -> None:
            async with limiter.slot():
                times.append(clock() - began)
                await asyncio.sleep(1)

        inside = asyncio.create_task(take())
        await _settle()
        limiter.hold_until(began + 30)
        limiter.hold_until(began + 20)
        assert limiter.limit == 3
        await asyncio.gather(inside, *[take() for _ in range(4)])
        return times

    assert virtual_time.run(hold()) == pytest.approx([0, 30, 30, 30, 31], abs=1e-6)


def test_a_hold_can_be_prolonged_while_some_wait():
    async def hold() -> float:
        limiter, began = Limiter(3, clock=clock), clock()
        limiter.hold_until(began + 10)
        waiter = asyncio.create_task(_take(limiter, 1))
        await asyncio.sleep(9)
        limiter.hold_until(began + 25)
        await waiter
        return clock() - began

    assert virtual_time.run(hold()) == pytest.approx(25)


def test_a_hold_that_is_over_already_holds_nobody():
    async def hold() -> float:
        limiter, began = Limiter(1, clock=clock), clock()
        limiter.hold_until(began - 5)
        await _take(limiter, 1)
        return clock() - began

    assert virtual_time.run(hold()) == pytest.approx(0, abs=1e-6)


def test_the_limit_moves_while_it_is_held_and_counts_afterwards():
    async def hold() -> tuple[int, int]:
        limiter = Limiter(8, clock=clock)
        limiter.hold_until(clock() + 10)
        limiter.slow_down()
        waiters = [asyncio.create_task(_take(limiter, 1)) for _ in range(8)]
        await asyncio.sleep(5)
        assert limiter.in_flight == 0
        await asyncio.sleep(6)
        [w.cancel() for w in waiters]
        return limiter.limit, limiter.in_flight

    assert virtual_time.run(hold()) == (4, 4)


def test_of_a_provider_that_bears_six_calls_few_are_refused():
    async def night() -> tuple[int, int]:
        limiter, n_taken, n_refused, n_answered = Limiter(32, clock=clock), 0, 0, 0

        async def call() -> None:
            nonlocal n_taken, n_refused, n_answered
            async with limiter.slot():
                if n_taken >= 6:
                    await asyncio.sleep(0.5)
                    n_refused += 1
                    limiter.slow_down()
                    return
                n_taken += 1
                await asyncio.sleep(1)
                n_taken -= 1
                n_answered += 1
                limiter.succeeded()

        await asyncio.gather(*[call() for _ in range(1000)])
        return n_refused, n_answered

    n_refused, n_answered = virtual_time.run(night())
    assert n_answered > 5 * n_refused


def test_another_upper_end_is_there_at_once_unless_the_provider_bears_less():
    limiter = Limiter(8, clock=lambda: 0.0)
    limiter.set_most(3)
    assert limiter.limit == 3
    limiter.set_most(8)
    assert limiter.limit == 8
    limiter.slow_down()
    limiter.set_most(6)
    assert limiter.limit == 4
    limiter.set_most(8)
    assert limiter.limit == 4


def test_slots_that_a_provider_would_not_bear_do_not_come_back_because_others_came_and_went():
    limiter = Limiter(16, clock=lambda: 0.0)
    limiter.slow_down()
    limiter.set_most(8)
    limiter.set_most(16)
    assert limiter.limit == 8
    limiter.set_most(9)
    for _ in range(8):
        limiter.succeeded()
    # As many as may be were answered: the provider bears them, and from there on the upper end is followed at once.
    assert limiter.limit == 9
    limiter.set_most(16)
    assert limiter.limit == 16
