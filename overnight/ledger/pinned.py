"""What runs have pinned, and which of them may pin more beside a purge."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.manifests import load_manifest
from overnight.ledger.provider_batch_progress import find_packed_runs
from overnight.ledger.provider_batch_schema import provider_batch_items
from overnight.ledger.release_schema import releases
from overnight.ledger.schema import (
    attempts,
    claims,
    completions,
    passes,
    quarantines,
    requests,
    run_batches,
    run_prompts,
    runs,
)
from overnight.ledger.trace_schema import readings, replays
from overnight.records import Batch, CheckedBatch, CompletedBatch, RunState


@dataclass(frozen=True)
class PinnedBatch:
    """A batch of a run at one stage, with what its keys are made of where it was not asked yet."""

    stage: str
    #: JSON.
    manifest: str
    #: Of the prompts of its step.
    prompt_hashes: tuple[str, ...]

    def load(self) -> Batch | CompletedBatch | CheckedBatch:
        """Its manifest."""
        return load_manifest(self.stage, self.manifest)


def list_pinned(connection: sa.Connection, run_id: str) -> list[PinnedBatch]:
    """The batches of a run, each as of every stage that it reached; of its input only what was asked no further."""
    c, b = run_prompts.c, run_batches.c
    query = sa.select(c.step, c.prompt_hash).where(c.run_id == run_id, c.prompt_hash.is_not(None))
    hashes: dict[int, tuple[str, ...]] = {}
    for row in connection.execute(query.order_by(c.step, c.prompt_hash)):
        hashes[row.step] = (*hashes.get(row.step, ()), row.prompt_hash)
    found = connection.execute(sa.select(b.step, b.n, b.stage, b.manifest).where(b.run_id == run_id)).all()
    asked = {(row.step, row.n) for row in found if row.stage != "input"}
    return [
        PinnedBatch(row.stage, row.manifest, () if (row.step, row.n) in asked else hashes.get(row.step, ()))
        for row in found
    ]


def find_active(connection: sa.Connection, *, after_pass: int, since: float) -> set[str]:
    """
    The runs that may have written to the ledger since then: those that are open, and whose last pass was not over.

    Args:
        connection: To the ledger.
        after_pass: The last pass that had begun then.
        since: Seconds since the epoch.
    """
    p = passes.c
    is_open = sa.select(runs.c.run_id).where(runs.c.state.in_([RunState.RUNNING, RunState.WAITING, RunState.BATCHED]))
    later = sa.select(p.run_id).where(sa.or_(p.pass_id > after_pass, p.ended_at >= since, p.started_at >= since))
    # Who follows a provider batch writes for its run, whatever has become of that.
    packed = find_packed_runs(connection)
    return {*connection.execute(is_open).scalars(), *connection.execute(later).scalars(), *packed}


def find_last_pass(connection: sa.Connection) -> int:
    """The last pass that has begun, or 0."""
    return connection.execute(sa.select(sa.func.max(passes.c.pass_id))).scalar() or 0


def list_releases_of(connection: sa.Connection, run_ids: Collection[str]) -> set[str]:
    """The releases that these runs have offered."""
    c = releases.c
    return {
        release_id
        for some in batched(sorted(run_ids))
        for release_id in connection.execute(sa.select(c.release_id).where(c.run_id.in_(some))).scalars()
    }


def find_bodies_of(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    """The digests of what was sent and answered under these keys, in provider batches too."""
    a, r, i, found = attempts.c, requests.c, provider_batch_items.c, set[str]()
    for some in batched(sorted(keys)):
        sent = sa.select(a.body, a.sent).where(a.request_key.in_(some))
        found.update(connection.execute(sa.select(r.body).where(r.request_key.in_(some))).scalars())
        found.update(digest for row in connection.execute(sent) for digest in row if digest)
        came = sa.select(i.body).where(i.request_key.in_(some), i.body.is_not(None))
        found.update(connection.execute(came).scalars())
    return found


def find_young_keys(connection: sa.Connection, before: float) -> set[str]:
    """Requests that were sent, settled, sent again to compare or read since then, or are being asked."""
    queries = (
        sa.select(claims.c.request_key),
        sa.select(attempts.c.request_key).where(attempts.c.opened_at >= before),
        sa.select(completions.c.request_key).where(completions.c.accepted_at >= before),
        sa.select(quarantines.c.request_key).where(quarantines.c.recorded_at >= before),
        sa.select(replays.c.request_key).where(replays.c.opened_at >= before),
        sa.select(readings.c.request_key).where(readings.c.recorded_at >= before),
    )
    return {key for query in queries for key in connection.execute(query).scalars()}
