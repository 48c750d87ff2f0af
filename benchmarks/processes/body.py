"""The request of a row as it goes over the wire, made by hand."""

from __future__ import annotations

import orjson

from benchmarks.rows import SCHEMA, make_text

_SHAPE = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": orjson.loads(SCHEMA)}}
_SYSTEM = {"role": "system", "content": "Give the sentiment of the text, and its first word."}


def encode_body(n: int) -> bytes:
    """Row n's."""
    question = {"role": "user", "content": f"<text>{make_text(n)}</text>"}
    return orjson.dumps(
        {"model": "bench", "messages": [_SYSTEM, question], "response_format": _SHAPE, "max_tokens": 64}
    )
