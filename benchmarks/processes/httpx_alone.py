"""The same calls by httpx with its own connection pool, with nothing kept and nothing checked."""

from __future__ import annotations

import asyncio
import os

import httpx
import orjson

from benchmarks.meter import metered
from benchmarks.processes.body import encode_body
from benchmarks.rows import CONCURRENCY, n_rows


async def send_all() -> None:
    """Send one call a row."""
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    slots = asyncio.Semaphore(CONCURRENCY)
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=60) as client:

        async def call(n: int) -> None:
            async with slots:
                response = await client.post(url, content=encode_body(n))
            orjson.loads(response.json()["choices"][0]["message"]["content"])

        await asyncio.gather(*(call(n) for n in range(n_rows())))


if __name__ == "__main__":
    with metered():
        asyncio.run(send_all())
