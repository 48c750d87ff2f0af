"""A run whose rows are all with a provider, in batches of other runs: nothing of it is broken."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from overnight.ledger.provider_batch_items import InBatch, find_in_batches
from overnight.parts import read_part
from overnight.records import BatchState, CheckedBatch, RowState
from overnight.taxonomy import FailureClass
from tasks.run import Run

_WITH_PROVIDER = {FailureClass.IN_BATCH.value, FailureClass.IN_DOUBT.value}
#: Provider batches that the line names.
_N_NAMED = 3


def find_elsewhere(checked: Sequence[CheckedBatch], run: Run) -> str | None:
    """What to say of a run whose pending rows are all in provider batches; None where some wait for something else."""
    pending = [row for batch in checked if batch.n_pending for row in _list_pending(batch, run)]
    if not pending or any(row["failure_class"] not in _WITH_PROVIDER for row in pending):
        return None
    keys = sorted({row["request_key"] for row in pending if row["request_key"]})
    found = run.ledger.read(lambda connection: find_in_batches(connection, keys))
    where, lead = _name(found.values()), _lead_on(found.values())
    return (
        f"Run {run.run_id} has no accepted row: {_count(len(pending))} with a provider, {where}. Nothing is broken, and"
        f" nothing is paid for twice: {lead} `overnight continue {run.run_id}`."
    )


def _list_pending(batch: CheckedBatch, run: Run) -> list[dict[str, str | None]]:
    rows = read_part(batch.part, run.settings.parts).select(["state", "failure_class", "request_key"])
    return [row for row in rows.to_pylist() if row["state"] == RowState.PENDING]


def _count(n: int) -> str:
    return "its pending row is" if n == 1 else f"all {n:,} pending rows are"


def _name(found: Collection[InBatch]) -> str:
    """The batches that have the rows, with whose they are."""
    batches = sorted({(each.batch_id, each.run_id) for each in found})
    if not batches:
        return "in batches that have ended just now"
    named = ", ".join(f"provider batch {batch_id} of run {run_id}" for batch_id, run_id in batches[:_N_NAMED])
    return f"in {named}" + (f" and {len(batches) - _N_NAMED:,} more" if len(batches) > _N_NAMED else "")


def _lead_on(found: Collection[InBatch]) -> str:
    if any(each.state is BatchState.IN_DOUBT for each in found):
        return "settle what is in doubt by `overnight batches`, and when they have ended,"
    return "when they have ended (`overnight batches`)," if found else "go on by"
