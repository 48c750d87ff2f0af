"""The floor: the same calls by aiohttp, written by hand, with nothing kept and nothing checked."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import orjson

from benchmarks.rows import CONCURRENCY, SCHEMA, n_rows


async def main() -> None:
    """Send one call a row."""
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": orjson.loads(SCHEMA)}}
    slots = asyncio.Semaphore(CONCURRENCY)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def call(n: int) -> None:
            text = f"<text>{n}: " + "the quick brown fox jumps over the lazy dog " * 7 + "</text>"
            body = {"model": "bench", "messages": [{"role": "user", "content": text}], "response_format": shape}
            async with slots, session.post(url, data=orjson.dumps(body)) as response:
                orjson.loads(orjson.loads(await response.read())["choices"][0]["message"]["content"])

        await asyncio.gather(*(call(n) for n in range(n_rows())))


asyncio.run(main())
