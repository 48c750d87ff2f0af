"""Dropping the words of reviews, runs and replays: who said what when stays, and each verdict's word."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.draws import PURGED
from overnight.ledger.provider_batch_schema import provider_batches
from overnight.ledger.release_schema import approvals, outbox, release_rows, releases
from overnight.ledger.review_schema import drawn_items, draws, review_answers, verdicts
from overnight.ledger.schema import halts, parts, run_batches, runs
from overnight.ledger.trace_schema import replays
from overnight.ledger.triggers import drop_triggers, make_triggers
from overnight.records import BatchState

_VERDICTS = ("correct", "corrected", "wrong", "unsure")


def list_unpurged_releases(connection: sa.Connection, of_runs: Collection[str]) -> list[str]:
    """The releases of these runs that have texts still."""
    v, w, n, d = review_answers.c, verdicts.c, drawn_items.c, draws.c
    of_outbox = sa.select(approvals.c.release_id).join(outbox, outbox.c.approval_id == approvals.c.approval_id)
    queries = (
        sa.select(d.release_id).where(d["items"] != PURGED),
        sa.select(v.release_id).where(sa.or_(v.reason != "", v.detail.is_not(None))),
        sa.select(w.release_id).where(sa.or_(w.reason.is_not(None), w.correction.is_not(None))),
        sa.select(n.release_id).where(n.note.is_not(None)),
        sa.select(release_rows.c.release_id).where(release_rows.c.warning.is_not(None)),
        of_outbox.where(outbox.c.detail.is_not(None)),
    )
    found = {release_id for query in queries for release_id in connection.execute(query.distinct()).scalars()}
    query = sa.select(releases.c.release_id, releases.c.run_id).order_by(releases.c.offered_at)
    wanted = set(of_runs)
    return [row.release_id for row in connection.execute(query) if row.run_id in wanted and row.release_id in found]


def purge_releases(connection: sa.Connection, release_ids: Sequence[str]) -> None:
    """Drop what was shown, and what was said of it in words; who decided what, and what an approval signs, stays."""
    drop_triggers(connection)
    of = list(release_ids)
    v = review_answers.c
    answers = sa.select(v.release_id, v.round, v.verdicts).where(v.release_id.in_(of))
    for row in connection.execute(answers).all():
        words = orjson.dumps(_name_verdicts(orjson.loads(row.verdicts))).decode()
        mine = sa.and_(v.release_id == row.release_id, v.round == row.round)
        connection.execute(sa.update(review_answers).where(mine).values(verdicts=words, reason="", detail=None))
    for table, values in (
        (draws, {"items": PURGED}),
        (drawn_items, {"note": None}),
        (verdicts, {"reason": None, "correction": None}),
        (release_rows, {"warning": None}),
    ):
        connection.execute(sa.update(table).where(table.c.release_id.in_(of)).values(values))
    of_approvals = sa.select(approvals.c.approval_id).where(approvals.c.release_id.in_(of))
    connection.execute(sa.update(outbox).where(outbox.c.approval_id.in_(of_approvals)).values(detail=None))
    make_triggers(connection)


def _name_verdicts(given: Mapping[str, Any]) -> dict[str, str]:
    """The word of each; of an answer that was refused it may be any text."""
    named = {n: next(iter(v), "") if isinstance(v, dict) else v for n, v in given.items()}
    return {n: v if v in _VERDICTS else "refused" for n, v in named.items()}


def purge_runs(connection: sa.Connection, run_ids: Sequence[str]) -> None:
    """Drop why each run ended, and what its batches were said to be: rules quote values, and providers requests."""
    c, b = run_batches.c, provider_batches.c
    for some in batched(run_ids):
        connection.execute(sa.update(runs).where(runs.c.run_id.in_(some)).values(reason=None))
        connection.execute(sa.delete(halts).where(halts.c.run_id.in_(some)))
        # What a person has to settle is told until then.
        is_over = b.run_id.in_(some) & b.state.in_([BatchState.ENDED, BatchState.UNSENT])
        connection.execute(sa.update(provider_batches).where(is_over).values(reason=None))
        query = sa.select(c.run_id, c.step, c.stage, c.n, c.manifest).where(c.run_id.in_(some), c.stage == "checked")
        for row in connection.execute(query).all():
            mine = sa.and_(c.run_id == row.run_id, c.step == row.step, c.stage == row.stage, c.n == row.n)
            connection.execute(sa.update(run_batches).where(mine).values(manifest=_strip(row.manifest)))


def purge_manifests(connection: sa.Connection, part_digests: Collection[str]) -> None:
    """The same of the parts that are dropped; each keeps its place, so that none is taken for made."""
    c = parts.c
    for some in batched(sorted(part_digests)):
        query = sa.select(c.cache_key, c.generation, c.manifest).where(c.part_digest.in_(some), c.stage == "checked")
        for row in connection.execute(query).all():
            mine = sa.and_(c.cache_key == row.cache_key, c.generation == row.generation)
            connection.execute(sa.update(parts).where(mine).values(manifest=_strip(row.manifest)))


def _strip(manifest: str) -> str:
    return orjson.dumps(orjson.loads(manifest) | {"batch_failures": [], "warnings": [], "docs": None}).decode()


def purge_replays(connection: sa.Connection, before: float) -> None:
    """Drop what old replays answered and how they failed, in words."""
    old = sa.update(replays).where(replays.c.opened_at < before)
    connection.execute(old.values(message=None, reasoning=None, output=None))


def count_replays(connection: sa.Connection, before: float) -> int:
    """Old replays that have their answers still."""
    c = replays.c
    is_whole = sa.or_(c.message.is_not(None), c.reasoning.is_not(None), c.output.is_not(None))
    query = sa.select(sa.func.count()).select_from(replays).where(c.opened_at < before, is_whole)
    return connection.execute(query).scalar_one()
