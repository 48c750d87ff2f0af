"""Rows that another run of the family has offered: they stay quarantined here, so that each row leaves once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from overnight.keys import digest_parts
from overnight.parts import read_part, write_part
from overnight.place import PartsPlace
from overnight.records import Batch, CheckedBatch, CompletedBatch, RowState
from overnight.taxonomy import OFFERED_ELSEWHERE, FailureClass

#: Why a row stays: another run of the family has offered it, or has taken it over from the inbox.
_OFFERED = "Run {} has offered this row: it leaves from there, or not at all."
LOST = "This run lost the row's request to {}: it is answered from there."


def leave_taken(
    completed: Sequence[CompletedBatch], taken: Mapping[str, str], place: PartsPlace, *, why: str = _OFFERED
) -> list[CompletedBatch]:
    """
    The batches with the accepted rows among these quarantined.

    Args:
        completed: The run's batches.
        taken: The run that has offered a row, by row id.
        place: Where the parts are.
        why: What to say of each, with that run's place in it.

    Raises:
        PartRefused: A part is missing or altered.
    """
    return [_leave(batch, taken, place, why) if taken and batch.n_accepted else batch for batch in completed]


def spare_lost(batches: Sequence[Batch], lost: Mapping[str, str], place: PartsPlace) -> list[Batch]:
    """
    The batches as they are asked, the rows that are another run's by now quarantined: nothing is paid for them.

    Args:
        batches: What the run reads.
        lost: The run that has a row's request, by row id.
        place: Where the parts are.

    Raises:
        PartRefused: A part is missing or altered.
    """
    return [_spare(batch, lost, place) if lost else batch for batch in batches]


def count_left(batches: Sequence[CheckedBatch], taken: Mapping[str, str], place: PartsPlace) -> int:
    """How many rows that stand quarantined here are another run's to release."""
    return sum(
        row["state"] == RowState.QUARANTINED and row["row_id"] in taken
        for batch in batches
        if taken and batch.n_quarantined
        for row in read_part(batch.part, place).select(["row_id", "state"]).to_pylist()
    )


def _leave(batch: CompletedBatch, taken: Mapping[str, str], place: PartsPlace, why: str) -> CompletedBatch:
    rows = read_part(batch.part, place).to_pylist()
    left = _quarantine(rows, RowState.ACCEPTED, taken, why)
    if not left:
        return batch
    return replace(
        batch,
        part=write_part(rows, place),
        n_accepted=batch.n_accepted - len(left),
        n_quarantined=batch.n_quarantined + len(left),
    )


def _spare(batch: Batch, lost: Mapping[str, str], place: PartsPlace) -> Batch:
    rows = read_part(batch.part, place).to_pylist()
    left = _quarantine(rows, RowState.PENDING, lost, LOST)
    if not left:
        return batch
    # A digest of its own: what is made of these rows now is not what the cache may give to whoever has them all.
    named = [text for row in left for text in (row["row_id"], lost[row["row_id"]])]
    digest = digest_parts("spared", [batch.digest, *named])
    return replace(batch, part=write_part(rows, place), digest=digest, n_quarantined=batch.n_quarantined + len(left))


def _quarantine(
    rows: Sequence[dict[str, Any]], state: RowState, taken: Mapping[str, str], why: str
) -> list[dict[str, Any]]:
    """Those of the rows in this state that are another run's, quarantined."""
    left = [row for row in rows if row["state"] == state and row["row_id"] in taken]
    for row in left:
        row |= {"state": RowState.QUARANTINED.value, "failure_class": FailureClass.BATCH_RULE.value}
        row |= {"rule": OFFERED_ELSEWHERE, "reason": why.format(taken[row["row_id"]])}
    return left
