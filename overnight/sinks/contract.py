"""
What a sink is: one destination, what it does there, and what it can bear.

A project's own sink is a small class over `RowSink`: see docs/sinks.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from overnight.records import Payload
from overnight.sinks.errors import DeliveryFailed

Effect = Literal["reversible", "irreversible"]


@dataclass(frozen=True)
class Consignment:
    """What is handed to a sink at once."""

    release_id: str
    payloads: Sequence[Payload]
    #: For a sink that replaces what was there: whether another release stands there, which the ledger could restore.
    replaces_release: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one row that the sink has answered for."""

    #: False: refused for good, the same bytes would be refused again.
    is_delivered: bool
    #: What to note in its receipt; one line.
    detail: str


class Sink:
    """
    One destination, open; the address was checked when it was made, and nothing was sent.

    Attributes:
        effect: "reversible" where `recall` can undo a delivery.
        operation: What a delivery does there, in one word: "replace", "create", "upsert", "post", "send".
        dedupes: Whether the same payload may be handed over again without harm. Where it may not, a row whose answer
            was lost is asked about, and never sent again by itself.
        n_at_once: The most rows of one consignment; None: a release is handed over whole.
        replaces: Whether a delivery takes the place of what was there: it then holds all rows of the release, those
            that an earlier one delivered among them.
        by_request: Whether each row answers a request of its own, and the sink knows which it has answered: then rows
            that bear the same id on two nights are two rows, and neither takes the other's place.
    """

    effect: ClassVar[Effect]
    operation: ClassVar[str]
    dedupes: ClassVar[bool]
    n_at_once: ClassVar[int | None] = 1
    replaces: ClassVar[bool] = False
    by_request: ClassVar[bool] = False

    def check(self, sample: Payload) -> None:
        """
        Refuse what would go wrong for every row, before the approval is used up; nothing is written.

        Raises:
            SinkRefused: The destination cannot take such rows.
            DeliveryDeferred: It cannot be reached now.
        """

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """
        Write the rows; an outcome for each, in order.

        Raises:
            DeliveryDeferred: Nothing of it was taken: it may be handed over again later.
            DeliveryUnknown: It may have been taken, and the answer was lost.
        """
        raise NotImplementedError

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:
        """
        Undo a delivery: delete or restore by delivery key; an outcome for each row, "delivered" meaning undone.

        Args:
            consignment: As it was delivered.
            before: For a sink that replaces: the release that stood there before; None where none did.

        Raises:
            DeliveryDeferred: Nothing was undone; it may be tried again.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held open."""


class RowSink(Sink):
    """A sink that takes one row at a time: what a project's own sink is made from."""

    def send(self, payload: Payload) -> str:
        """
        Send exactly these bytes; what to note in the receipt.

        Raises:
            DeliveryFailed: The row was refused for good.
            DeliveryDeferred: It was not taken, and may be later.
            DeliveryUnknown: It may have been taken, and the answer was lost.
        """
        raise NotImplementedError

    def take_back(self, payload: Payload) -> str:
        """
        Undo the delivery of one row, where the effect is "reversible"; what to note.

        Raises:
            DeliveryFailed: It cannot be undone, for instance since it was changed there.
            DeliveryDeferred: It was not undone, and may be later.
        """
        raise NotImplementedError

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """Each row by `send`."""
        return [_settle(self.send, payload) for payload in consignment.payloads]

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:  # noqa: ARG002 - rows stand alone
        """Each row by `take_back`."""
        return [_settle(self.take_back, payload) for payload in consignment.payloads]


def _settle(work: Callable[[Payload], str], payload: Payload) -> Outcome:
    try:
        return Outcome(is_delivered=True, detail=work(payload))
    except DeliveryFailed as error:
        return Outcome(is_delivered=False, detail=str(error))
