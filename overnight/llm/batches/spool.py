"""The requests of a batch as one body on disk: written before anything is sent, so that memory stays flat."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import httpx

from overnight.failures import CallFailed
from overnight.llm.batches.protocol import BatchItem, Limits
from overnight.llm.sending import Sending
from overnight.taxonomy import FailureClass

#: As the stricter provider takes it.
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHUNK_BYTES = 64 * 1024
#: Requests written before others get their turn.
_TURN = 500


@dataclass(frozen=True)
class Frame:
    """How a provider wants requests in one body."""

    before: bytes
    #: A custom id and a body, to the bytes of a request.
    write: Callable[[str, bytes], bytes]
    between: bytes
    after: bytes


class FileStream(httpx.AsyncByteStream):
    """A file's bytes, from its beginning."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk


async def spool_items(items: Iterable[BatchItem], n_items: int, *, frame: Frame, limits: Limits) -> IO[bytes]:
    """
    The requests of a batch in a file without a name, which is gone with whoever holds it.

    Raises:
        CallFailed: They are not as many as was said, more than the provider takes, or find no room: nothing was sent.
    """
    with ExitStack() as opened:
        file = opened.enter_context(_open())
        await _write(file, items, n_items, frame, limits)
        # It is whole: now it is the caller's to close.
        opened.pop_all()
        return file


def watch_sending(request: httpx.Request) -> httpx.Request:
    """The request with a body that knows how far it is."""
    stream = request.stream
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - narrows the type
    request.stream = Sending(stream, int(request.headers["content-length"]))
    return request


async def _write(file: IO[bytes], items: Iterable[BatchItem], n_items: int, frame: Frame, limits: Limits) -> None:
    n_written, n_bytes = 0, _put(file, frame.before)
    for item in items:
        n_bytes += _put(file, (frame.between if n_written else b"") + frame.write(_check_id(item), item.body))
        n_written += 1
        if n_written > limits.n_items or n_bytes + len(frame.after) > limits.n_bytes:
            raise _refuse(f"takes more than {limits.n_items} requests or {limits.n_bytes} bytes", "Split it")
        if n_written % _TURN == 0:
            await asyncio.sleep(0)
    if n_written != n_items or not n_items:
        raise _refuse(f"has {n_written} requests, and {n_items} were announced", "Pack it again")
    _put(file, frame.after, is_last=True)


def _open() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="overnight-")
    except OSError as error:
        raise _find_no_room(error) from error


def _put(file: IO[bytes], data: bytes, *, is_last: bool = False) -> int:
    try:
        n_bytes = file.write(data)
        if is_last:
            file.flush()
    except OSError as error:
        raise _find_no_room(error) from error
    return n_bytes


def _find_no_room(error: OSError) -> CallFailed:
    where = tempfile.gettempdir()
    message = f"A batch cannot be written to a file in {where}: {error.strerror}; nothing was sent. Make room there."
    return CallFailed(FailureClass.CONNECT, message)


def _check_id(item: BatchItem) -> str:
    if _CUSTOM_ID.fullmatch(item.custom_id) is None:
        raise _refuse(f"names a request {item.custom_id!r}, which a provider refuses", "Name it by name_item")
    return item.custom_id


def _refuse(why: str, what_to_do: str) -> CallFailed:
    return CallFailed(FailureClass.BAD_REQUEST, f"The batch {why}; nothing was sent. {what_to_do}.")
