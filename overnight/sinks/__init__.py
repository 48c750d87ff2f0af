"""Sinks: code that writes out, one destination a file; only the delivering desk imports this room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from overnight.payloads import kind_of
from overnight.records import Payload
from overnight.sinks.errors import DeliveryFailed, DeliveryUnsure
from overnight.sinks.file import FileSink
from overnight.sinks.http import HttpSink

__all__ = ["DeliveryFailed", "DeliveryUnsure", "FileSink", "HttpSink", "RowSink", "Sink", "WholeSink", "open_sink"]


class _AnySink(Protocol):
    @property
    def uri(self) -> str:
        """The sink's canonical name."""

    @property
    def effect(self) -> str:
        """What a delivery is: "reversible" or "irreversible"."""

    def close(self) -> None:
        """Give back what the sink holds open."""


@runtime_checkable
class WholeSink(_AnySink, Protocol):
    """A sink that takes all rows of a release at once."""

    def write(self, payloads: Iterable[Payload]) -> str:
        """Write everything or nothing; what to note in the receipts."""


class RowSink(_AnySink, Protocol):
    """A sink that takes one row at a time."""

    def send(self, payload: Payload) -> str:
        """
        Send one row; what to note in its receipt.

        Raises:
            DeliveryFailed: The receiver refused for good.
            DeliveryUnsure: It may be sent again later, under the same key.
        """


Sink = WholeSink | RowSink


def open_sink(uri: str, *, allow_hosts: frozenset[str], token: str | None = None, retry_base_s: float = 1.0) -> Sink:
    """
    The sink at an address.

    Args:
        uri: file:PATH.jsonl, file:PATH.parquet, http://… or https://….
        allow_hosts: Hosts that may be private or loopback.
        token: Sent as a bearer token over HTTP; never written down.
        retry_base_s: First wait between attempts over HTTP, in seconds.

    Raises:
        SinkRefused: The address is not one that may be written to.
    """
    if kind_of(uri) == "file":
        return FileSink(uri)
    return HttpSink(uri, allow_hosts=allow_hosts, token=token, retry_base_s=retry_base_s)
