"""The floor: the same calls by aiohttp, written by hand, with nothing kept and nothing checked."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import orjson

from benchmarks.meter import metered
from benchmarks.processes.body import encode_body
from benchmarks.rows import CONCURRENCY, n_rows


async def send_all() -> None:
    """Send one call a row."""
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    slots = asyncio.Semaphore(CONCURRENCY)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def call(n: int) -> None:
            async with slots, session.post(url, data=encode_body(n)) as response:
                orjson.loads(orjson.loads(await response.read())["choices"][0]["message"]["content"])

        await asyncio.gather(*(call(n) for n in range(n_rows())))


if __name__ == "__main__":
    with metered():
        asyncio.run(send_all())
