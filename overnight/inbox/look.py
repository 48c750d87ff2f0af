"""Looking a request up: for whoever asked, who thereby reads its answer, or for whoever runs the house."""

from __future__ import annotations

import time

from overnight.failures import LedgerRefused
from overnight.keys import delivery_key, digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.inbox import InboxCount, InboxRequest, find_request, list_counts, mark_read


def find(inbox_key: str, *, ledger: Ledger, now: float | None = None) -> InboxRequest | None:
    """
    The request of this key, for whoever asked: an answer is there once a person has let it out.

    That an answer was shown is recorded, for the day on which somebody wants it back.

    Args:
        inbox_key: What they were given.
        ledger: Where it is kept.
        now: Seconds since the epoch.

    Raises:
        LedgerRefused: The answer is not the one that was released.
    """
    found = look(inbox_key, ledger=ledger)
    if found and found.answer is not None and found.read_at is None:
        at = time.time() if now is None else now
        ledger.write(lambda connection: mark_read(connection, inbox_key, at))
        # Once more: it may have been recalled in the meantime.
        return look(inbox_key, ledger=ledger)
    return found


def look(inbox_key: str, *, ledger: Ledger) -> InboxRequest | None:
    """
    The same for whoever runs the house: nothing is recorded.

    Raises:
        LedgerRefused: The answer is not the one that was released.
    """
    found = ledger.read(lambda connection: find_request(connection, inbox_key))
    if found and found.answer is not None:
        digest = digest_bytes(found.answer.encode())
        if delivery_key(f"inbox:{found.prompt}", found.row_id, digest) != found.delivery_key:
            raise LedgerRefused(
                f"The answer to request {inbox_key} is not the one that was released: it was altered since. Find out"
                " who wrote to the ledger, and restore it from a backup."
            )
    return found


def count(prompt: str | None = None, *, ledger: Ledger) -> list[InboxCount]:
    """How many requests stand where, by prompt and state."""
    return ledger.read(lambda connection: list_counts(connection, prompt))
