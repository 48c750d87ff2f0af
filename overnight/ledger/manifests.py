"""Manifests: the parts that a run uses at each stage, and those that were made for a cache key."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.schema import parts, run_batches, run_prompts
from overnight.records import Batch, CheckedBatch, CompletedBatch, Part

M = TypeVar("M", bound=Batch | CompletedBatch | CheckedBatch)
#: The stage that each manifest belongs to.
_STAGES: dict[type[Any], str] = {Batch: "input", CompletedBatch: "completed", CheckedBatch: "checked"}
_KINDS: dict[str, type[Batch | CompletedBatch | CheckedBatch]] = {stage: kind for kind, stage in _STAGES.items()}


def record_batches(connection: sa.Connection, run_id: str, manifests: list[M]) -> None:
    """Record the manifests that the run uses at their stage; a later pass may replace them."""
    rows = [
        {
            "run_id": run_id,
            "step": manifest.step,
            "stage": _STAGES[type(manifest)],
            "n": manifest.n,
            "manifest": _dump(manifest),
        }
        for manifest in manifests
    ]
    _ADD_MANIFEST.run(connection, rows)


def replace_input(connection: sa.Connection, run_id: str, name: str, step: int, batches: list[Batch]) -> None:
    """Record what a later step of the run reads, with its prompt, in place of what an earlier pass recorded."""
    c = run_prompts.c
    connection.execute(sa.update(run_prompts).where(c.run_id == run_id, c.name == name).values(step=step))
    before = {batch.n: batch for batch in find_batches(connection, run_id, Batch, step=step)}
    now = {batch.n: batch for batch in batches}
    # What was made of other rows than these is not theirs.
    stale = [n for n in before if before[n] != now.get(n)]
    of_step = (run_batches.c.run_id == run_id) & (run_batches.c.step == step)
    connection.execute(sa.delete(run_batches).where(of_step, run_batches.c.n.in_(stale)))
    record_batches(connection, run_id, batches)


def find_batches(connection: sa.Connection, run_id: str, kind: type[M], *, step: int | None = None) -> list[M]:
    """The run's manifests of one stage, of one step or of all, in order."""
    c = run_batches.c
    query = sa.select(c.manifest).where(c.run_id == run_id, c.stage == _STAGES[kind])
    query = query.where(c.step == step) if step else query
    return [_load(kind, text) for text in connection.execute(query.order_by(c.step, c.n)).scalars()]


def find_latest_batches(
    connection: sa.Connection, run_id: str
) -> dict[tuple[int, int], Batch | CompletedBatch | CheckedBatch]:
    """Each batch of the run as of the last stage that it reached, by its step and number."""
    latest: dict[tuple[int, int], Batch | CompletedBatch | CheckedBatch] = {}
    for found in (find_batches(connection, run_id, kind) for kind in (Batch, CompletedBatch, CheckedBatch)):
        latest |= {(batch.step, batch.n): batch for batch in found}
    return latest


def list_last_batches(connection: sa.Connection, run_id: str) -> list[Batch | CompletedBatch | CheckedBatch]:
    """The same in order, by one query, and only the last stages loaded: for who looks through many runs."""
    c, order = run_batches.c, list(_KINDS)
    query = sa.select(c.step, c.n, c.stage, c.manifest).where(c.run_id == run_id).order_by(c.step, c.n)
    rows = sorted(connection.execute(query).all(), key=lambda row: order.index(row.stage))
    last = {(row.step, row.n): row for row in rows}
    return [load_manifest(last[at].stage, last[at].manifest) for at in sorted(last)]


def record_part(connection: sa.Connection, cache_key: str, manifest: CompletedBatch | CheckedBatch, now: float) -> None:
    """Record the part made for a cache key as its newest generation, unless it is that already, and final."""
    found = find_part(connection, cache_key, type(manifest))
    # With rows pending it is a generation of its own even if nothing changed: its key has been used up.
    if found and found[1] == manifest and manifest.n_pending == 0:
        return
    earlier = sa.select(sa.func.count()).where(parts.c.cache_key == cache_key).scalar_subquery()
    row = {
        "cache_key": cache_key,
        "generation": earlier,
        "stage": _STAGES[type(manifest)],
        "part_digest": manifest.part.digest,
        "manifest": _dump(manifest),
        "recorded_at": now,
    }
    connection.execute(sa.insert(parts).values(row))


def find_part(connection: sa.Connection, cache_key: str, kind: type[M]) -> tuple[int, M] | None:
    """The newest generation of the part made for a cache key."""
    c = parts.c
    query = sa.select(c.generation, c.manifest).where(c.cache_key == cache_key).order_by(c.generation.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return (row.generation, _load(kind, row.manifest)) if row else None


def is_recorded(connection: sa.Connection, manifest: CheckedBatch) -> bool:
    """Whether the check step itself made this manifest: nothing else records parts."""
    c = parts.c
    query = sa.select(c.manifest).where(c.part_digest == manifest.part.digest, c.stage == _STAGES[CheckedBatch])
    recorded = [_load(CheckedBatch, text) for text in connection.execute(query).scalars()]
    return manifest in recorded


def load_manifest(stage: str, text: str) -> Batch | CompletedBatch | CheckedBatch:
    """A manifest from its text, as the kind that belongs to its stage."""
    return _load(_KINDS[stage], text)


def _dump(manifest: Batch | CompletedBatch | CheckedBatch) -> str:
    return orjson.dumps(manifest).decode()


def _load(kind: type[M], text: str) -> M:
    """Not by pydantic, which takes an eighth of a second to import: these are the ledger's own texts."""
    values: dict[str, Any] = orjson.loads(text)
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return kind(**{**values, **lists, "part": Part(**values["part"])})


_NEW_MANIFEST = insert(run_batches)
_ADD_MANIFEST = Prepared(
    _NEW_MANIFEST.on_conflict_do_update(
        index_elements=list(run_batches.primary_key), set_={"manifest": _NEW_MANIFEST.excluded.manifest}
    )
)
