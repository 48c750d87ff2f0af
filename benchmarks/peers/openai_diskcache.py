"""openai's client with diskcache before it: an answer is kept under the text that was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys

import diskcache  # type: ignore[import-not-found, import-untyped, unused-ignore]
from openai import AsyncOpenAI  # type: ignore[import-not-found, unused-ignore]

from benchmarks.meter import metered
from benchmarks.rows import CONCURRENCY, SCHEMA, make_text, n_rows

_SHAPE = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": json.loads(SCHEMA)}}


async def ask_all(folder: str) -> None:
    """One call a row that the cache does not have."""
    client, slots = AsyncOpenAI(), asyncio.Semaphore(CONCURRENCY)
    with diskcache.Cache(folder) as cache:

        async def ask(n: int) -> None:
            text = f"<text>{make_text(n)}</text>"
            messages = [
                {"role": "system", "content": "Give the sentiment of the text, and its first word."},
                {"role": "user", "content": text},
            ]
            asked = {"model": "bench", "messages": messages, "response_format": _SHAPE, "max_tokens": 64}
            key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
            if key in cache:
                json.loads(cache[key])
                return
            async with slots:
                answer = await client.chat.completions.create(**asked)  # type: ignore[call-overload, unused-ignore]
            cache[key] = answer.choices[0].message.content
            json.loads(cache[key])

        await asyncio.gather(*(ask(n) for n in range(n_rows())))


if __name__ == "__main__":
    with metered():
        asyncio.run(ask_all(sys.argv[1]))
