"""One HTTP exchange: what comes back is kept whole, every fault is a `CallFailed`, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from overnight.failures import CallFailed
from overnight.llm.received import Received, read_network_fault
from overnight.llm.sending import LEAST_BYTES_PER_S, Sending
from overnight.llm.statuses import read_fault
from overnight.masking import Mask
from overnight.records import Reply
from overnight.taxonomy import FailureClass

T = TypeVar("T")

MAX_BODY_BYTES = 10 * 1024 * 1024
CONNECT_TIMEOUT_S = 10.0
# Under the 5 s after which common servers drop an idle connection: a call on a connection that is
# just being dropped is lost, and may have been billed.
KEEPALIVE_S = 4.0
# A short key is a placeholder of a server that asks for none ("ollama"), and a word that an answer may hold.
MIN_SECRET_LENGTH = 8

_SENT_HEADERS = {"accept-encoding": "gzip, deflate", "content-type": "application/json", "user-agent": "overnight"}
_EXTENSIONS = {"timeout": httpx.Timeout(None, connect=CONNECT_TIMEOUT_S).as_dict()}


class Exchange:
    """
    Connections to one address, kept alive.

    Args:
        who: The model and host, for messages.
        secret: The key that no reply or message may carry.
        timeout_s: Total deadline of one call, whatever the server drips; of a file, what its bytes take comes on top.
        is_billed: Whether a call whose answer is lost may cost something: messages say so.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        who: str,
        secret: str,
        timeout_s: float,
        concurrency: int,
        is_billed: bool = True,
    ) -> None:
        self.who = f"{who} ({urlsplit(url).netloc})"
        self._url = httpx.URL(url)
        self._mask = Mask(secret if len(secret) >= MIN_SECRET_LENGTH else "")
        #: Of what is no answer.
        self._error_mask = Mask(secret)
        self._timeout_s = timeout_s
        self._is_billed = is_billed
        self._headers = httpx.Headers({**_SENT_HEADERS, **headers})
        # httpx's own pool is what costs most of a call; over aiohttp's a call is four times cheaper, and twice again
        # without a client, which is there for redirects, cookies and sign-in.
        limits = httpx.Limits(max_connections=concurrency, keepalive_expiry=KEEPALIVE_S)
        self._transport = AiohttpTransport(limits=limits, trust_env=False)

    async def post(self, body: bytes) -> Reply:
        """
        Send the body once to the address itself; the reply of a 200.

        Raises:
            CallFailed: Whatever else happened, with what had been received by then.
        """
        stream = httpx.ByteStream(body)
        request = httpx.Request("POST", self._url, headers=self._headers, stream=stream, extensions=_EXTENSIONS)
        request.read()
        return await self.send(request)

    def make_request(self, method: str, path: str, **content: Any) -> httpx.Request:
        """A request to a path under the address, with content as httpx takes it; nothing is sent."""
        headers = self._headers.copy()
        # httpx writes the type of what it encodes itself, and what has no content has none.
        if "stream" not in content:
            del headers["content-type"]
        return httpx.Request(method, f"{self._url}{path}", headers=headers, extensions=_EXTENSIONS, **content)

    async def send(self, request: httpx.Request) -> Reply:
        """
        Send a request once; the reply of a 200.

        Raises:
            CallFailed: Whatever else happened, with what had been received by then.
        """
        received, deadline = Received(), asyncio.timeout(self._timeout_s)
        if isinstance(request.stream, Sending):
            request.stream.deadline = deadline
        await self._wait(self._receive(request, received), deadline, received)
        return self._judge(received)

    async def stream(self, request: httpx.Request) -> AsyncGenerator[bytes, None]:
        """
        Send a request once; the body of a 200 in pieces as they come, however long it is.

        Raises:
            CallFailed: Whatever else happened, also when the body is cut after some of it was given out.
        """
        received, left_s = Received(), self._timeout_s
        response = await self._wait(self._transport.handle_async_request(request), asyncio.timeout(left_s), received)
        try:
            received.begin(response)
            if response.status_code != HTTPStatus.OK:
                await self._wait(_read_body(response, received), asyncio.timeout(left_s), received)
                self._judge(received)
            pieces, began = _iterate(response), time.monotonic()
            while piece := await self._wait(anext(pieces, b""), asyncio.timeout(left_s), received):
                # Only the wait for it counts, not what is done with it.
                left_s += len(piece) / LEAST_BYTES_PER_S - (time.monotonic() - began)
                yield piece
                began = time.monotonic()
        finally:
            await response.aclose()

    def mask(self, reply: Reply) -> Reply:
        """The reply without secrets in the texts that were read from its body: an escape may have hidden one there."""
        return self._mask.hide_fields(reply)

    def hide_body(self, status: int | None, body: bytes) -> bytes:
        """A body that came with a status, without secrets."""
        return self._choose_mask(status).hide_bytes(body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _wait(self, doing: Awaitable[T], deadline: asyncio.Timeout, received: Received) -> T:
        try:
            async with deadline:
                return await doing
        except TimeoutError as error:
            billed = "; the call may be billed" if self._is_billed else ""
            message = f"{self.who} did not answer whole within {self._timeout_s:g} s{billed}."
            raise self._fail(received, FailureClass.TIMEOUT, message) from error
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            raise self._fail(received, *read_network_fault(self.who, error, is_billed=self._is_billed)) from error

    async def _receive(self, request: httpx.Request, received: Received) -> None:
        response = await self._transport.handle_async_request(request)
        try:
            received.begin(response)
            await _read_body(response, received)
        finally:
            await response.aclose()

    def _judge(self, received: Received) -> Reply:
        if len(received.body) > MAX_BODY_BYTES:
            message = f"{self.who} sent more than {MAX_BODY_BYTES} bytes; the rest was cut off. Lower max_tokens."
            raise self._fail(received, FailureClass.TOO_LARGE, message)
        reply = self._find_reply(received)
        if reply is not None and reply.status == HTTPStatus.OK:
            return reply
        fault = read_fault(self.who, received.status or 0, received.headers, bytes(received.body))
        failed = self._fail(received, fault.failure_class, fault.message, fault.retry_after_s)
        failed.is_retried = fault.is_retried
        raise failed

    def _fail(
        self, received: Received, failure_class: FailureClass, message: str, retry_after_s: float | None = None
    ) -> CallFailed:
        said = self._error_mask.hide(message)
        return CallFailed(failure_class, said, retry_after_s=retry_after_s, reply=self._find_reply(received))

    def _find_reply(self, received: Received) -> Reply | None:
        """What was received, without secrets; None where no status line came."""
        if received.status is None:
            return None
        mask = self._choose_mask(received.status)
        body = mask.hide_bytes(bytes(received.body[:MAX_BODY_BYTES]))
        headers = {k: mask.hide(v) for k, v in received.headers.items()}
        request_id = headers.get("request-id") or headers.get("x-request-id")
        return Reply(status=received.status, body=body, headers=headers, request_id=request_id)

    def _choose_mask(self, status: int | None) -> Mask:
        return self._mask if status == HTTPStatus.OK else self._error_mask


def _iterate(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body's pieces, unpacked where they are packed: the raw ones are cheaper."""
    return aiter(response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw())


async def _read_body(response: httpx.Response, received: Received) -> None:
    async for chunk in _iterate(response):
        received.body += chunk
        if len(received.body) > MAX_BODY_BYTES:
            break
