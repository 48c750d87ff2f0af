"""What leaves, and where to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Payload:
    """The exact bytes that one row sends, and the key that makes sending twice harmless."""

    row_id: str
    body: bytes
    #: SHA-256 of the body, hex.
    digest: str
    #: SHA-256 over sink, row id and payload digest, hex; where the row goes back to what it said before, over the key
    #: of what stood there meanwhile too.
    delivery_key: str


@dataclass(frozen=True)
class SinkFacts:
    """What is known of a sink before anything is sent to it."""

    #: Its address with all that decides where and how rows are written.
    name: str
    operation: str
    #: "reversible" or "irreversible".
    effect: str


@dataclass(frozen=True)
class OwnSink:
    """A sink that the project declares with a class of its own."""

    #: "MODULE:CLASS".
    location: str
    #: What decides where and how it writes; a part of the sink's name.
    options: Mapping[str, str]


@dataclass(frozen=True)
class Receipt:
    """What became of a promised delivery."""

    delivery_key: str
    row_id: str
    #: As in the outbox: "delivered", "earlier", "failed", "unknown", "promised", …
    state: str
    #: What the sink said.
    detail: str
