"""The server: where it listens, how it ends, and how long it waits for who says nothing."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import signal
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from overnight.failures import OvernightError

#: How long requests that are under way may take once the server ends.
_GRACE_S = 3
#: How long the head of a request may take to arrive.
HEAD_S = 10.0


class HurriedProtocol(H11Protocol):
    """HTTP/1.1 in which a connection whose next request does not come is closed: uvicorn itself waits without end."""

    _deadline: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, head_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_s = head_s

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Wait on only where the head is not there yet."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._cancel()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._cancel()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._head_s, self.transport.close)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def listen(app: ASGIApp, host: str, port: int, *, tell: Callable[[str], None]) -> None:
    """
    Serve until SIGTERM or Ctrl-C; requests that are under way are answered first.

    Args:
        app: What is served.
        host: The address to bind.
        port: 0: any that is free.
        tell: Is given the server's address, as soon as it answers.

    Raises:
        OvernightError: The address cannot be bound.
    """
    # Once uvicorn has ended it raises the signal again: so that who called it ends what is theirs.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _bind(host, port) as listening:
        address = listening.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        tell(f"http://{shown}:{address[1]}")
        try:
            make_server(app).run(sockets=[listening])
        except KeyboardInterrupt:
            return


def make_server(app: ASGIApp, *, head_s: float = HEAD_S) -> uvicorn.Server:
    """The server of this application, which closes a connection whose request does not begin in time."""
    config = uvicorn.Config(
        app,
        http=functools.partial(HurriedProtocol, head_s=head_s),  # type: ignore[arg-type]  # it is called
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return uvicorn.Server(config)


def is_loopback(host: str) -> bool:
    """Whether only this machine comes there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            # It listens before its address is told: who comes early waits.
            listening.listen(256)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise OvernightError(
            f"Nothing can listen on {host}, port {port} ({error.strerror}). Name another with --host or --port."
        ) from error
    return listening
