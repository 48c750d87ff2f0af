"""What is said of a batch whose sending was not answered: how that was lost, and what looking for it has shown."""

from __future__ import annotations

from overnight.llm import leave_out_advice
from overnight.records import ProviderBatch

OTHER_KEY = "it was sent by another key, and this one does not show it. Look by the other."
ABSENT = "the provider does not show it yet."

_KILLED = "The process that sent it ended before it was answered."
#: Between the words for the one and for the other; the first stay, whatever is found later.
_SEARCH = " It was looked for: "


def describe_search(batch: ProviderBatch, finding: str) -> str:
    """How the answer was lost, in the words of then, and the newest finding."""
    lost, _, _ = (batch.reason or _KILLED).partition(_SEARCH)
    return f"{lost}{_SEARCH}{finding}"


def describe_unshown(said: str) -> str:
    """The provider does not show its list; its words, without the advice for calls: here nothing is run again."""
    return f"the list of batches is not shown, so nobody can tell ({leave_out_advice(said).rstrip('. ')})."


def describe_candidates(provider_ids: tuple[str, ...]) -> str:
    """Several may be it."""
    return f"it may be {' or '.join(provider_ids)} at the provider: that shows when it has ended."


def was_absent(batch: ProviderBatch) -> bool:
    """Whether the last look for it has shown nothing."""
    return batch.reason is not None and batch.reason.endswith(_SEARCH + ABSENT)
