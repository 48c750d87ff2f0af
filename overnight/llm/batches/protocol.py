"""One way to hand requests to a provider together, whichever provider it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from overnight.failures import CallFailed
from overnight.records import BatchLook, ItemResult


class SubmitUnknown(CallFailed):
    """A batch was sent, and nobody said whether it was received."""


@dataclass(frozen=True)
class BatchItem:
    """One request of a batch."""

    #: As `name_item` gives it.
    custom_id: str
    #: The exact body that a call of its own would have.
    body: bytes


@dataclass(frozen=True)
class Limits:
    """What one provider batch may hold."""

    n_items: int
    #: Of the whole as it is sent.
    n_bytes: int


@dataclass(frozen=True)
class Found:
    """What a search for a batch came to that was sent and not answered."""

    #: The batch, where one is surely it.
    look: BatchLook | None = None
    #: Those that may be it: it will show when they have ended.
    candidates: tuple[str, ...] = ()
    #: Why nobody can tell, where that is so; else, without a look and candidates, the provider does not have it.
    unknown: str | None = None


class BatchClient(Protocol):
    """A provider's batches, for one model at one endpoint; nothing is sent twice by itself."""

    #: Which key it uses, in a form that does not tell it.
    key_mark: str

    async def submit(
        self, batch_id: str, items: Iterable[BatchItem], n_items: int, *, check: Callable[[], None] = lambda: None
    ) -> BatchLook:
        """
        Send a batch.

        Args:
            batch_id: Ours, by which it is found again.
            items: Its requests, encoded while they are sent.
            n_items: How many.
            check: Called in the last moment before the provider may take it on; a `CallFailed` of it is raised.

        Raises:
            SubmitUnknown: It may have been received, or may not.
            CallFailed: It was not received.
        """
        ...

    async def look(self, provider_id: str) -> BatchLook:
        """
        The batch as the provider shows it now.

        Raises:
            CallFailed: It does not.
        """
        ...

    async def find(self, batch_id: str, *, since: float, n_items: int, spared: Collection[str]) -> Found:
        """
        Look for a batch that was sent and not answered.

        Args:
            batch_id: Ours.
            since: When it was about to be sent, in seconds since the epoch.
            n_items: How many requests it has.
            spared: The provider's ids of batches that are known to be others.

        Raises:
            CallFailed: The provider does not answer now: ask later.
        """
        ...

    async def cancel(self, provider_id: str) -> BatchLook:
        """
        Ask the provider to stop; what it has answered by then is kept, and paid for.

        Raises:
            CallFailed: It does not hear.
        """
        ...

    def read_results(self, look: BatchLook) -> AsyncGenerator[ItemResult]:
        """
        What came back, in any order, as it is received; only of a batch that has ended.

        Raises:
            CallFailed: The results cannot be read now, or not whole.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def name_item(batch_id: str, attempt_id: int, key: str) -> str:
    """The custom id of a request: it names its attempt, and the batch that it went with; 59 characters at the most."""
    return f"{key[:24]}-{batch_id}-{attempt_id:x}"
