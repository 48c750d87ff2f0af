"""What came over the wire, as far as it came, and what the network's own faults are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp
import httpx

from overnight.llm.wire import one_line
from overnight.taxonomy import FailureClass

_HEADERS = {"content-type", "retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id"}
_HEADER_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")


@dataclass
class Received:
    """What had been received when an exchange came to its end."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    def begin(self, response: httpx.Response) -> None:
        """Note the status and the headers that are kept."""
        self.status = response.status_code
        self.headers = _keep_headers(response.headers.raw)


def _keep_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The allow-listed headers, names in lower case; one that came twice has both values."""
    kept: dict[str, str] = {}
    for name, value in raw:
        k = name.decode("latin-1").lower()
        if k in _HEADERS or k.startswith(_HEADER_PREFIXES):
            v = value.decode("utf-8", "replace")
            kept[k] = f"{kept[k]}, {v}" if k in kept else v
    return kept


def read_network_fault(who: str, error: Exception, *, is_billed: bool) -> tuple[FailureClass, str]:
    """The class of a lost connection, or of one that never was, and a line for people."""
    # The transport calls every lost connection a connect time-out; aiohttp's own error, its cause, tells them apart.
    cause = error.__cause__ or error
    said = one_line(str(cause) or type(cause).__name__)
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return FailureClass.CONNECT, f"{who} cannot be reached: {said}. Check the network and the base URL."
    billed = "; it may be billed" if is_billed else ""
    return FailureClass.TIMEOUT, f"{who} broke off its answer: {said}. It is sent again later{billed}."
