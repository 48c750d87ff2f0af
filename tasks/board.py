"""What a flow run's page shows of its provider batches: one artifact each of a table and of the share done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId

from overnight.ledger import Ledger
from overnight.ledger.provider_batch_progress import find_progress
from overnight.ledger.provider_batches import list_batches
from overnight.records import ProviderBatch
from overnight.report.batches import describe_age, describe_progress
from overnight.report.measure import escape_markdown

_HEAD = ("| provider batch | at the provider | state | done | age | expires |", "|---|---|---|---|---|---|")


def show_batches(client: SyncPrefectClient, run_id: str, flow_run_id: UUID, ledger: Ledger) -> None:
    """Put the run's provider batches on the page of its flow run; what was there is written anew, not added to."""
    now = time.time()
    with ledger.reading() as connection:
        batches = list_batches(connection, run_id=run_id)
        progress = find_progress(connection, [run_id]).get(run_id)
    if not batches and progress is None:
        return
    # A card of the page shows so much, and cuts off the rest.
    said = describe_progress(progress, now) if progress else "No provider batch is open"
    share = 100.0 * progress.n_done / max(1, progress.n_items) if progress else 100.0
    _put(client, flow_run_id, f"batches-{run_id}", ("markdown", describe_batches(batches, now)), said)
    _put(client, flow_run_id, f"batches-done-{run_id}", ("progress", round(share, 2)), said)


def describe_batches(batches: Sequence[ProviderBatch], now: float) -> str:
    """A table in markdown, a line a provider batch; the oldest first."""
    if not batches:
        return "Its rows are in provider batches of other runs, which had them first."
    return "\n".join([*_HEAD, *(_describe(batch, now) for batch in reversed(batches))])


def _describe(batch: ProviderBatch, now: float) -> str:
    begun = batch.submitted_at or batch.submitting_at or batch.packed_at
    state = f"{batch.state} ({batch.status})" if batch.status else str(batch.state)
    cells = (
        batch.batch_id,
        batch.provider_id or "",
        f"{state}: {batch.reason}" if batch.reason else state,
        f"{_count_done(batch):,} of {batch.n_items:,}",
        describe_age((batch.ended_at or now) - begun),
        f"{datetime.fromtimestamp(batch.expires_at, UTC):%Y-%m-%d %H:%M} UTC" if batch.expires_at else "",
    )
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def _count_done(batch: ProviderBatch) -> int:
    # One that has ended has nothing open, whatever was seen when it was looked at last.
    return batch.n_items if batch.ended_at else batch.n_done


def _put(client: SyncPrefectClient, flow_run_id: UUID, key: str, shown: tuple[str, Any], said: str) -> None:
    kind, data = shown
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
    )
    if found:
        client.update_artifact(found[0].id, ArtifactUpdate(data=data, description=said))
        return
    # Not by `create_markdown_artifact`: that one is the calling task's too, on whichever page it is to be shown.
    made = ArtifactCreate(key=key, type=kind, description=said, data=data, flow_run_id=flow_run_id)
    client.create_artifact(made)
