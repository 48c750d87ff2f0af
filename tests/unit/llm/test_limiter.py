from __future__ import annotations

import asyncio

import pytest

from overnight.llm import Limiter


def test_no_more_than_n_hold_a_slot_and_the_next_follows_at_once():
    async def crowd() -> list[int]:
        limiter, go, seen = Limiter(3), asyncio.Event(), []

        async def hold() -> None:
            async with limiter.slot():
                seen.append(limiter.in_flight)
                await go.wait()

        held = [asyncio.create_task(hold()) for _ in range(10)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == [1, 2, 3]
        go.set()
        await asyncio.gather(*held)
        assert limiter.in_flight == 0
        return seen

    seen = asyncio.run(crowd())
    assert len(seen) == 10
    assert max(seen) == 3


def test_a_slot_is_freed_when_its_call_fails():
    async def fail_then_take() -> int:
        limiter = Limiter(1)
        with pytest.raises(ValueError, match="lost"):
            async with limiter.slot():
                raise ValueError("lost")
        async with limiter.slot():
            return limiter.in_flight

    assert asyncio.run(fail_then_take()) == 1
