"""By when a run has to be done, and when its provider batches are given up for that."""

from __future__ import annotations

import statistics

from overnight.ledger import Ledger
from overnight.ledger.latencies import sample_latencies
from overnight.ledger.provider_batch_progress import find_progress
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.terms import find_changed_at, find_mode
from overnight.settings import Settings

#: For a provider to stop, and for the run to be picked up again, in seconds.
_CANCELING_S = 900.0
#: Of a call, where nothing is on record.
_CALL_S = 2.0


def find_fallback_at(run_id: str, ledger: Ledger, settings: Settings) -> float | None:
    """
    When the run gives its provider batches up, in seconds since the epoch; None where it has no deadline.

    So long before the deadline as its rows would take online, all of them, by what such calls have taken. Once it has
    given some up for it, it stays so: the rows that came back are few, and would take no time.
    """
    with ledger.reading() as connection:
        _, by_at = find_mode(connection, run_id)
        if by_at is None:
            return None
        since = find_changed_at(connection, run_id) or 0.0
        given_up = [b.canceled_at for b in list_batches(connection, run_id=run_id) if (b.canceled_at or 0.0) > since]
        if given_up:
            return min(at for at in given_up if at)
        progress = find_progress(connection, [run_id]).get(run_id)
        latencies_s = sample_latencies(connection, run_id)
    n_rows = progress.n_items if progress else 0
    call_s = statistics.median(latencies_s) if latencies_s else _CALL_S
    return by_at - _CANCELING_S - n_rows * call_s / settings.concurrency
