"""Dropping texts and bytes, a batch a transaction: hashes, times, tokens, money and verdicts stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import orjson
import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.kept_payloads import find_payload_runs, find_payloads
from overnight.ledger.prepared import insert
from overnight.ledger.provider_batch_schema import provider_batch_items
from overnight.ledger.schema import (
    attempts,
    bodies,
    claims,
    completions,
    quarantines,
    requests,
)
from overnight.ledger.trace_schema import purged_answers, purges, readings, replays

#: What texts or bytes are dropped from.
TABLES = (
    *("bodies", "requests", "attempts", "completions", "quarantines", "readings", "replays", "runs", "run_batches"),
    *("parts", "draws", "drawn_items", "review_answers", "verdicts", "release_rows", "outbox", "inbox"),
    "provider_batches",
)
#: Writers of these wait for the end of a batch: whoever is about to use something old is seen, or waits.
_LOCK = "LOCK TABLE claims, passes, run_batches, run_prompts, releases IN SHARE MODE"


def begin_batch(connection: sa.Connection) -> None:
    """Begin a transaction that drops something: who is about to pin or to ask something old waits for its end."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_LOCK)
    else:
        connection.exec_driver_sql("PRAGMA secure_delete = ON")


def wait_for_purge(connection: sa.Connection) -> None:
    """Whoever refers to bodies anew and claims nothing: what is being dropped in this moment is recorded anew after."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE claims IN ROW EXCLUSIVE MODE")


def list_old_requests(connection: sa.Connection, before: float) -> list[str]:
    """The keys of requests from before then that have their texts still."""
    c = requests.c
    query = sa.select(c.request_key).where(c.recorded_at < before, c.purged_at.is_(None))
    return list(connection.execute(query).scalars())


def purge_requests(connection: sa.Connection, keys: Sequence[str], *, before: float, now: float) -> set[str]:
    """
    Drop what was asked and answered under the keys, but for what is asked in this moment; those that were dropped.

    The answers' digests stay, and a request that is asked again is recorded anew.
    """
    a, c, dropped = attempts.c, claims.c, set[str]()
    for some in batched(keys):
        busy = set(connection.execute(sa.select(c.request_key).where(c.request_key.in_(some))).scalars())
        young = sa.select(a.request_key).where(a.request_key.in_(some), a.opened_at >= before)
        busy |= set(connection.execute(young).scalars())
        old = [key for key in some if key not in busy]
        _keep_digests(connection, old, now)
        for table in (completions, quarantines):
            connection.execute(sa.delete(table).where(table.c.request_key.in_(old)))
        connection.execute(
            sa.update(attempts).where(a.request_key.in_(old)).values(message=None, reasoning=None, headers=None)
        )
        connection.execute(sa.update(readings).where(readings.c.request_key.in_(old)).values(note=""))
        connection.execute(sa.update(requests).where(requests.c.request_key.in_(old)).values(input="", purged_at=now))
        dropped.update(old)
    return dropped


def _keep_digests(connection: sa.Connection, keys: Sequence[str], now: float) -> None:
    q, c = quarantines.c, completions.c
    refused = sa.select(q.request_key, q.attempt_id, q.output_digest, q.recorded_at, q.failure_class, q.rule)
    accepted = sa.select(c.request_key, c.attempt_id, c.output_digest, c.accepted_at, c.model)
    found = {
        row[0]: {
            **dict(zip(("request_key", "attempt_id", "output_digest", "settled_at"), row[:4], strict=True)),
            **dict(zip(names, row[4:], strict=True)),
        }
        # What was accepted in the end counts.
        for query, names in ((refused.where(q.request_key.in_(keys)), ("failure_class", "rule")),
                             (accepted.where(c.request_key.in_(keys)), ("model",)))
        for row in connection.execute(query)
    }  # fmt: skip
    if not found:
        return
    connection.execute(sa.delete(purged_answers).where(purged_answers.c.request_key.in_(list(found))))
    blank = dict.fromkeys(("model", "failure_class", "rule"))
    connection.execute(insert(purged_answers), [blank | row | {"purged_at": now} for row in found.values()])


def list_purgeable_bodies(
    connection: sa.Connection, *, dropped: Collection[str], payloads_of: Collection[str], before: float
) -> dict[str, int]:
    """
    Bodies that nothing refers to which is left whole, each with the bytes that it takes.

    Args:
        connection: To the ledger.
        dropped: Requests that are dropped, besides those that were before.
        payloads_of: Runs whose payloads stay.
        before: Replays from then on stay.
    """
    c, kept = bodies.c, _find_referred(connection, dropped, payloads_of, before)
    query = sa.select(c.digest, sa.func.length(c.data)).where(sa.func.length(c.data) > 0)
    return {row[0]: row[1] for row in connection.execute(query) if row[0] not in kept}


def _find_referred(
    connection: sa.Connection, dropped: Collection[str], payloads_of: Collection[str], before: float
) -> set[str]:
    r, a, p, i = requests.c, attempts.c, replays.c, provider_batch_items.c
    live = {}
    for row in connection.execute(sa.select(r.request_key, r.body).where(r.purged_at.is_(None))):
        if row.request_key not in dropped:
            live[row.request_key] = row.body
    found = set(live.values())
    for row in connection.execute(sa.select(a.request_key, a.body, a.sent)):
        if row.request_key in live:
            found |= {row.body, row.sent}
    for row in connection.execute(sa.select(i.request_key, i.body).where(i.body.is_not(None))):
        if row.request_key in live:
            found.add(row.body)
    for row in connection.execute(sa.select(p.sent, p.body).where(p.opened_at >= before)):
        found |= {row.sent, row.body}
    return found | find_payloads(connection, payloads_of)


def purge_bodies(connection: sa.Connection, digests: Sequence[str], *, active: Sequence[str], since: float) -> set[str]:
    """
    Drop the bytes of bodies; digest and size stay. Those that were dropped.

    Args:
        connection: In a batch that has begun.
        digests: Whose.
        active: Runs that may have referred to one of them since it was found that nothing does.
        since: When that was, seconds since the epoch.
    """
    a, p, i, wanted = attempts.c, replays.c, provider_batch_items.c, set(digests)
    anew: set[str | None] = set(find_payloads(connection, find_payload_runs(connection, active)))
    for some in batched(active):
        query = sa.select(requests.c.body, a.body, a.sent).join(attempts, a.request_key == requests.c.request_key)
        for row in connection.execute(query.where(a.run_id.in_(some))):
            anew.update(row)
    for row in connection.execute(sa.select(p.sent, p.body).where(sa.or_(p.opened_at >= since, p.closed_at >= since))):
        anew.update(row)
    came = sa.select(i.body).join(attempts, a.attempt_id == i.attempt_id).where(i.body.is_not(None))
    anew.update(connection.execute(came.where(sa.or_(i.arrived_at >= since, a.outcome == "open"))).scalars())
    dropped = wanted - anew
    for some in batched(sorted(dropped)):
        connection.execute(sa.update(bodies).where(bodies.c.digest.in_(some)).values(data=b""))
    return dropped


def open_purge(connection: sa.Connection, before: float, by: str, now: float) -> int:
    """Record that a purge begins, and who began it; its id."""
    row = {"before": before, "by": by, "counts": "{}", "recorded_at": now}
    return int(connection.execute(sa.insert(purges).values(row).returning(purges.c.purge_id)).scalar_one())


def close_purge(connection: sa.Connection, purge_id: int, counts: Mapping[str, int]) -> None:
    """Record what it dropped."""
    values = {"counts": orjson.dumps(dict(counts)).decode()}
    connection.execute(sa.update(purges).where(purges.c.purge_id == purge_id).values(values))
