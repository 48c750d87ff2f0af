"""One HTTP exchange: what comes back is kept whole, every fault is a `CallFailed`, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from overnight.failures import CallFailed
from overnight.llm.statuses import read_fault
from overnight.llm.wire import one_line
from overnight.masking import Mask
from overnight.records import Reply
from overnight.taxonomy import FailureClass

MAX_BODY_BYTES = 10 * 1024 * 1024
CONNECT_TIMEOUT_S = 10.0
# Under the 5 s after which common servers drop an idle connection: a call on a connection that is
# just being dropped is lost, and may have been billed.
KEEPALIVE_S = 4.0
# A short key is a placeholder of a server that asks for none ("ollama"), and a word that an answer may hold.
MIN_SECRET_LENGTH = 8

_SENT_HEADERS = {"accept-encoding": "gzip, deflate", "content-type": "application/json", "user-agent": "overnight"}
_EXTENSIONS = {"timeout": httpx.Timeout(None, connect=CONNECT_TIMEOUT_S).as_dict()}
_HEADERS = {"content-type", "retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id"}
_HEADER_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")


@dataclass
class _Received:
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


class Exchange:
    """
    Connections to one address, kept alive.

    Args:
        who: The model and host, for messages.
        secret: The key that no reply or message may carry.
        timeout_s: Total deadline of one call, whatever the server drips.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, who: str, secret: str, timeout_s: float, concurrency: int
    ) -> None:
        self.who = f"{who} ({urlsplit(url).netloc})"
        self._url = httpx.URL(url)
        self._mask = Mask(secret if len(secret) >= MIN_SECRET_LENGTH else "")
        #: Of what is no answer.
        self._error_mask = Mask(secret)
        self._timeout_s = timeout_s
        self._headers = httpx.Headers({**_SENT_HEADERS, **headers})
        # httpx's own pool is what costs most of a call; over aiohttp's a call is four times cheaper, and twice again
        # without a client, which is there for redirects, cookies and sign-in.
        limits = httpx.Limits(max_connections=concurrency, keepalive_expiry=KEEPALIVE_S)
        self._transport = AiohttpTransport(limits=limits, trust_env=False)

    async def post(self, body: bytes) -> Reply:
        """
        Send the body once; the reply of a 200.

        Raises:
            CallFailed: Whatever else happened, with what had been received by then.
        """
        received = _Received()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._receive(body, received)
        except TimeoutError as error:
            message = f"{self.who} did not answer whole within {self._timeout_s:g} s; the call may be billed."
            raise self._fail(received, FailureClass.TIMEOUT, message) from error
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            raise self._fail(received, *_read_network_fault(self.who, error)) from error
        return self._judge(received)

    def mask(self, reply: Reply) -> Reply:
        """The reply without secrets in the texts that were read from its body: an escape may have hidden one there."""
        return self._mask.hide_fields(reply)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _receive(self, body: bytes, received: _Received) -> None:
        response = await self._transport.handle_async_request(self._make_request(body))
        try:
            received.status = response.status_code
            received.headers = _keep_headers(response.headers.raw)
            packed = "content-encoding" in response.headers
            async for chunk in response.aiter_bytes() if packed else response.aiter_raw():
                received.body += chunk
                if len(received.body) > MAX_BODY_BYTES:
                    break
        finally:
            await response.aclose()

    def _make_request(self, body: bytes) -> httpx.Request:
        stream = httpx.ByteStream(body)
        request = httpx.Request("POST", self._url, headers=self._headers, stream=stream, extensions=_EXTENSIONS)
        request.read()
        return request

    def _judge(self, received: _Received) -> Reply:
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
        self, received: _Received, failure_class: FailureClass, message: str, retry_after_s: float | None = None
    ) -> CallFailed:
        said = self._error_mask.hide(message)
        return CallFailed(failure_class, said, retry_after_s=retry_after_s, reply=self._find_reply(received))

    def _find_reply(self, received: _Received) -> Reply | None:
        """What was received, without secrets; None where no status line came."""
        if received.status is None:
            return None
        mask = self._mask if received.status == HTTPStatus.OK else self._error_mask
        body = mask.hide_bytes(bytes(received.body[:MAX_BODY_BYTES]))
        headers = {k: mask.hide(v) for k, v in received.headers.items()}
        request_id = headers.get("request-id") or headers.get("x-request-id")
        return Reply(status=received.status, body=body, headers=headers, request_id=request_id)


def _keep_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The allow-listed headers, names in lower case; one that came twice has both values."""
    kept: dict[str, str] = {}
    for name, value in raw:
        k = name.decode("latin-1").lower()
        if k in _HEADERS or k.startswith(_HEADER_PREFIXES):
            v = value.decode("utf-8", "replace")
            kept[k] = f"{kept[k]}, {v}" if k in kept else v
    return kept


def _read_network_fault(who: str, error: Exception) -> tuple[FailureClass, str]:
    # The transport calls every lost connection a connect time-out; aiohttp's own error, its cause, tells them apart.
    cause = error.__cause__ or error
    said = one_line(str(cause) or type(cause).__name__)
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return FailureClass.CONNECT, f"{who} cannot be reached: {said}. Check the network and the base URL."
    return FailureClass.TIMEOUT, f"{who} broke off its answer: {said}. It is sent again later; it may be billed."
