"""Parts of a run that cannot be read any more: a report says so, and goes on with the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from overnight.failures import OvernightError, PartMissing, PartRefused, PlaceUnreachable
from overnight.ledger.purged_runs import Purge, find_purge
from overnight.parts import verify_part
from overnight.place import PartsPlace
from overnight.records import Batch, CheckedBatch, CompletedBatch

Manifest = Batch | CompletedBatch | CheckedBatch


def leave_out_unread(
    connection: sa.Connection, run_id: str, batches: Mapping[tuple[int, int], Manifest], place: PartsPlace
) -> tuple[dict[tuple[int, int], Manifest], tuple[str, ...]]:
    """
    The batches of a run whose parts are whole, and a line for each other one; one line for all that a purge dropped.

    Args:
        connection: To the ledger.
        run_id: The run.
        batches: By step and number.
        place: Where the parts are.
    """
    faults = dict(_find_faults(batches, place))
    is_missing = any(isinstance(fault, PartMissing) for fault in faults.values())
    purge = find_purge(connection, run_id) if is_missing else None
    whole = {at: batch for at, batch in batches.items() if at not in faults}
    return whole, tuple(dict.fromkeys(_describe(*at, fault, purge) for at, fault in faults.items()))


def _find_faults(
    batches: Mapping[tuple[int, int], Manifest], place: PartsPlace
) -> Iterator[tuple[tuple[int, int], OvernightError]]:
    silence: PlaceUnreachable | None = None
    for at, batch in sorted(batches.items()):
        try:
            # A store that did not answer is not waited for once more with each batch.
            if silence is None:
                verify_part(batch.part, place)
        except PartRefused as error:
            yield at, error
        except PlaceUnreachable as error:
            silence = error
        if silence:
            yield at, silence


def _describe(step: int, n: int, fault: OvernightError, purge: Purge | None) -> str:
    if purge and isinstance(fault, PartMissing):
        return f"Its rows were dropped by the purge of {purge.day}: why rows were set aside cannot be told any more."
    of_step = f" of step {step}" if step > 1 else ""
    if isinstance(fault, PlaceUnreachable):
        return f"Why rows were set aside cannot be told now: {fault}"
    return f"The reasons of batch {n}{of_step} cannot be read: {fault}"
