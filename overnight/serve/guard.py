"""What every request passes first: whose it is, how often they come, how much and how slowly they send."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from overnight.serve.problems import Refused, come_back
from overnight.serve.saying import say
from overnight.serve.tokens import Tokens, TokensRefused

#: What needs no token: it says that the server answers, and nothing else.
HEALTH = "/v1/health"
#: How long who sends a body that is refused may go on, so that they come to read why.
_LINGER_S = 2.0
_SECURITY = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Left(Exception):
    """Who asked has gone before all was said."""


class Guard:
    """
    Refuses before anything of a request is worked on, and reads its body no further than the limit.

    Args:
        app: What is guarded.
        tokens: Who may ask.
        rate: How often one client may.
        most_bytes: Of a body.
        most_at_once: Requests under way, of all clients.
        body_s: How long a body may take to arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens,
        rate: RateLimitItem,
        most_bytes: int,
        most_at_once: int,
        body_s: float,
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._rate = rate
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._most_bytes = most_bytes
        self._most_at_once = most_at_once
        self._n_at_once = 0
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer why not, or let the application answer."""
        has_begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._n_at_once += 1
        try:
            if scope["path"] != HEALTH:
                self._admit(scope)
            body = await self._read(Headers(scope=scope), receive)
            await self._app(scope, _replay(body, receive), send_guarded)
        except Refused as refused:
            await _refuse(refused, scope, receive, send_guarded)
        except Left:
            return
        except asyncio.CancelledError:
            # The server ends, and has waited for this one for as long as it does.
            if has_begun:
                raise
            await come_back(503, "The server ends. Send it again.", 10).respond()(scope, receive, send_guarded)
        finally:
            self._n_at_once -= 1

    def _admit(self, scope: Scope) -> None:
        """Note whose request it is."""
        if self._n_at_once > self._most_at_once:
            raise come_back(503, f"{self._most_at_once} requests are under way. Send it again.", 1)
        client = self._identify(Headers(scope=scope))
        if not self._limiter.hit(self._rate, client):
            window = self._limiter.get_window_stats(self._rate, client)
            raise come_back(
                429, f"Client {client} may ask {self._rate}. Send it again later.", window.reset_time - time.time()
            )
        scope.setdefault("state", {})["client"] = client

    def _identify(self, headers: Headers) -> str:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        try:
            client = self._tokens.find_client(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
        except TokensRefused as error:
            say(error)
            raise come_back(503, "The file of tokens cannot be used: its owner is told why.", 60) from error
        if client is None:
            challenge = 'Bearer realm="overnight"' + (', error="invalid_token"' if token.strip() else "")
            raise Refused(401, "Send Authorization: Bearer TOKEN, with a valid one.", {"WWW-Authenticate": challenge})
        return client

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        """The body, as far as it may be long and slow."""
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self._refuse_size()
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_s):
                async for chunk in _list_chunks(receive):
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise self._refuse_size()
        except TimeoutError:
            raise Refused(408, f"The body did not arrive within {self._body_s:g} s. Send it again.") from None
        return bytes(body)

    def _refuse_size(self) -> Refused:
        return Refused(
            413, f"The body has more than {self._most_bytes:,} bytes. Send one row at a time, or less of it."
        )


async def _list_chunks(receive: Receive) -> AsyncIterator[bytes]:
    is_open = True
    while is_open:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Left
        yield message.get("body", b"")
        is_open = message.get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_due = True

    async def receive_again() -> Message:
        nonlocal is_due
        if not is_due:
            return await receive()
        is_due = False
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def _refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once; then let who still sends come to the end, for a while, or they never read the answer."""
    if not _has_body(Headers(scope=scope)):
        await refused.respond()(scope, receive, send)
        return
    response = refused.respond({"Connection": "close"})
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    try:
        async with asyncio.timeout(_LINGER_S):
            async for _ in _list_chunks(receive):
                pass
    except (TimeoutError, Left):
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
