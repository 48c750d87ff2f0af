"""Sinks: code that writes out, one destination a file; only the delivering desk imports this room."""

from __future__ import annotations

from overnight.payloads import kind_of
from overnight.records import OwnSink
from overnight.sinks.contract import Consignment, Outcome, RowSink, Sink
from overnight.sinks.errors import DeliveryDeferred, DeliveryFailed, DeliveryUnknown
from overnight.sinks.file import FileSink
from overnight.sinks.http import HttpSink
from overnight.sinks.inbox import InboxSink, Place
from overnight.sinks.mail import MailSink
from overnight.sinks.objects import ObjectSink
from overnight.sinks.own import open_own
from overnight.sinks.sql import SqlSink

__all__ = [
    "Consignment",
    "DeliveryDeferred",
    "DeliveryFailed",
    "DeliveryUnknown",
    "Outcome",
    "Place",
    "RowSink",
    "Sink",
    "open_sink",
]

_CLASSES: dict[str, type[HttpSink | MailSink | ObjectSink | SqlSink]] = {
    "http": HttpSink,
    "mail": MailSink,
    "object": ObjectSink,
    "sql": SqlSink,
}


def open_sink(
    name: str,
    *,
    allow_hosts: frozenset[str],
    credential: str | None = None,
    own: OwnSink | None = None,
    place: Place | None = None,
) -> Sink:
    """
    The sink of this name.

    Args:
        name: As `payloads.sink_name` writes it.
        allow_hosts: Hosts that may be private or loopback.
        credential: What the destination asks for; never written down.
        own: What the project declares, where the sink is its own.
        place: Where the inbox is, which this room does not know; None: nothing is delivered.

    Raises:
        SinkRefused: The address is not one that may be written to.
        DeliveryDeferred: Its host cannot be found now.
    """
    if own is not None:
        return open_own(name, own, credential)
    kind = kind_of(name)
    if kind == "file":
        return FileSink(name)
    if kind == "inbox":
        return InboxSink(name, place)
    return _CLASSES[kind](name, allow_hosts=allow_hosts, credential=credential)
