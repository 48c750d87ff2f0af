from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from overnight.llm.sending import LEAST_BYTES_PER_S, Sending


class Pieces(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * LEAST_BYTES_PER_S


def test_each_piece_puts_the_deadline_off_by_what_a_slow_line_takes_for_it():
    async def send() -> list[float]:
        sending = Sending(Pieces(), 3 * LEAST_BYTES_PER_S)
        async with asyncio.timeout(1) as deadline:
            sending.deadline = deadline
            began = deadline.when()
            return [deadline.when() - began async for _ in sending]

    assert asyncio.run(send()) == pytest.approx([1, 2, 3])


def test_a_body_counts_as_whole_from_its_last_piece_on():
    async def send() -> list[bool]:
        sending = Sending(Pieces(), 3 * LEAST_BYTES_PER_S)
        return [sending.is_whole, *[sending.is_whole async for _ in sending]]

    assert asyncio.run(send()) == [False, False, False, True]


def test_a_deadline_that_has_passed_is_left_alone():
    async def send() -> int:
        sending = Sending(Pieces(), 3 * LEAST_BYTES_PER_S)
        async with asyncio.timeout(1) as deadline:
            sending.deadline = deadline
            await asyncio.sleep(0)
        return len([piece async for piece in sending])

    assert asyncio.run(send()) == 3
