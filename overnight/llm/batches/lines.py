"""A file of JSON lines, read as it comes: memory holds one line at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from overnight.failures import CallFailed
from overnight.llm.exchange import MAX_BODY_BYTES
from overnight.llm.wire import read_object
from overnight.taxonomy import FailureClass

#: Where the custom id stands in a line that is too long: before whatever the model wrote.
_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*"([a-zA-Z0-9_-]{1,64})"')
_ANSWER = re.compile(rb'"(?:response|result|error)"\s*:')
_HEAD_BYTES = 1024


async def read_lines(
    who: str, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[tuple[dict[str, Any], str | None], None]:
    """
    The JSON object of each line; of one over 10 MB none, but the custom id that stands at its beginning.

    A line that holds no object is left out: what it was about has no result.

    Raises:
        CallFailed: The file was cut off.
    """
    held, skipped = bytearray(), b""
    async with aclosing(pieces) as coming:
        async for piece in coming:
            *ended, rest = piece.split(b"\n")
            for part in ended:
                held += part
                yield _read(bytes(held), skipped)
                held.clear()
                skipped = b""
            held += rest
            if len(held) > MAX_BODY_BYTES:
                skipped = skipped or bytes(held[:_HEAD_BYTES])
                held.clear()
    if held.strip():
        data, long = _read(bytes(held), skipped)
        if not data and long is None:
            raise CallFailed(FailureClass.TIMEOUT, f"{who} cut a file of results off. It is read again later.")
        yield data, long


def _read(line: bytes, skipped: bytes) -> tuple[dict[str, Any], str | None]:
    head = skipped or (line[:_HEAD_BYTES] if len(line) > MAX_BODY_BYTES else b"")
    if not head:
        return read_object(line) if line.strip() else {}, None
    answer = _ANSWER.search(head)
    named = _CUSTOM_ID.search(head, 0, answer.start() if answer else len(head))
    return {}, named[1].decode() if named else None
