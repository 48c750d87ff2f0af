"""The inbox as a sink: whoever asked from outside is answered there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from overnight.failures import SinkRefused
from overnight.records import Payload
from overnight.sinks.contract import Consignment, Outcome, Sink


class Place(Protocol):
    """Where the requests are that one run answers; each call is one transaction."""

    def is_asked(self) -> bool:
        """Whether the run has taken any of them."""

    def answer(self, payloads: Sequence[Payload]) -> Sequence[tuple[bool, str]]:
        """Give each row's request its answer: whether it has it now, and a note."""

    def withdraw(self, payloads: Sequence[Payload]) -> Sequence[tuple[bool, str]]:
        """Take the answers back: whether each is gone, and a note."""


class InboxSink(Sink):
    """
    Answers requests to one prompt, each once: the first answer stays.

    A recall takes an answer back; of one that was read, its receipt says so.
    """

    effect = "reversible"
    operation = "answer"
    dedupes = True
    #: Rows of one transaction: other writers wait as long as it takes.
    n_at_once = 1000
    by_request = True

    def __init__(self, name: str, place: Place | None) -> None:
        self._name = name
        self._place = place

    def check(self, sample: Payload) -> None:  # noqa: ARG002 - the rows are as any
        """Refuse a release of which no row was asked from outside."""
        if not self._get_place().is_asked():
            raise SinkRefused(
                f"No row of this run is of {self._name}, so nobody waits there for its answers. Run the flow with"
                f" --source {self._name}, or give the rows another --sink."
            )

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """Write the answers."""
        return [Outcome(done, note) for done, note in self._get_place().answer(consignment.payloads)]

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:  # noqa: ARG002 - rows stand alone
        """Take them back."""
        return [Outcome(done, note) for done, note in self._get_place().withdraw(consignment.payloads)]

    def _get_place(self) -> Place:
        assert self._place is not None, "only a sink that is described has no place"  # noqa: S101 - narrows the type
        return self._place
