"""What is handed to a provider to be answered within a day, and how it stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def is_time_of_day(text: str) -> bool:
    """Whether it is HH:MM."""
    return _TIME_OF_DAY.fullmatch(text) is not None


class Mode(StrEnum):
    """How the rows of a run are asked."""

    #: Each by a call of its own, answered while it is waited for.
    ONLINE = "online"
    #: Together, in provider batches: within a day, at the provider's price for it.
    BATCH = "batch"


class BatchState(StrEnum):
    """Where a provider batch stands."""

    #: Requests are put into it; nothing was sent.
    PACKING = "packing"
    #: It is being sent, or was when its process ended: the provider may have it.
    SUBMITTING = "submitting"
    #: The provider has it.
    SUBMITTED = "submitted"
    #: The provider is done with it, and all of its results are in the ledger.
    ENDED = "ended"
    #: The provider never had it: its requests are free again.
    UNSENT = "unsent"
    #: Nobody can tell whether the provider has it: a person has to, and nothing of it is asked again before.
    IN_DOUBT = "in_doubt"


@dataclass(frozen=True)
class ProviderBatch:
    """Requests that a provider answers together; not the batch of rows that is checked together."""

    #: Ours, made before anything is sent: 16 hex digits, in each custom id and in the metadata.
    batch_id: str
    run_id: str
    #: PROVIDER:NAME, and the base URL.
    model: str
    endpoint: str
    state: BatchState
    #: Whose claims its requests are (`leases`): they outlive every process, until the batch ends.
    worker_id: int
    #: Whose process puts requests into it, or sends it.
    packed_by: int
    packed_at: float
    n_items: int = 0
    #: When it was about to be sent.
    submitting_at: float | None = None
    submitted_at: float | None = None
    #: The provider's id of it, and its own word for where it stands.
    provider_id: str | None = None
    status: str | None = None
    #: Of its requests, those that the provider is done with, as far as it said when it was looked at last.
    n_done: int = 0
    looked_at: float | None = None
    #: When the provider gives up what is not answered by then.
    expires_at: float | None = None
    #: When the provider was asked to stop.
    canceled_at: float | None = None
    ended_at: float | None = None
    #: Of which key it was sent by: another one may not see it.
    key_mark: str | None = None
    #: Why it is in doubt, unsent, or how it failed as a whole.
    reason: str | None = None


class ItemKind(StrEnum):
    """What became of one request of a provider batch."""

    #: The provider answered it: `status` and `body` are as a call of its own has them, an error too.
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELED = "canceled"
    #: The batch is over and says nothing of it.
    MISSING = "missing"


@dataclass(frozen=True)
class ItemResult:
    """What came back for one request."""

    custom_id: str
    kind: ItemKind
    #: As of a call of its own; None where there was none.
    status: int | None = None
    #: The response's body, or the error's; empty where there is none.
    body: bytes = b""
    request_id: str | None = None


@dataclass(frozen=True)
class BatchLook:
    """A provider batch as its provider shows it."""

    provider_id: str
    #: The provider's own word.
    status: str
    #: Whether nothing of it changes any more: its results can be read.
    is_ended: bool
    n_items: int = 0
    n_done: int = 0
    #: Seconds since the epoch.
    created_at: float | None = None
    expires_at: float | None = None
    #: Where results are, by the provider's ids of them.
    files: tuple[str, ...] = ()
    #: Where the provider refused it as a whole: HTTP status that says the same, code, and words.
    refused: tuple[int, str, str] | None = None
