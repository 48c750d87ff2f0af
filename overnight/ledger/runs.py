"""Runs: what each one pinned, the parts it made, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from overnight.keys import canonical_json
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.schema import parts, passes, run_batches, run_prompts, runs
from overnight.masking import read_private
from overnight.records import Batch, CheckedBatch, CompletedBatch, Part, Prompt, RunState

M = TypeVar("M", bound=Batch | CompletedBatch | CheckedBatch)

#: The stage that each manifest belongs to.
_STAGES: dict[type[Any], str] = {Batch: "input", CompletedBatch: "completed", CheckedBatch: "checked"}
_KINDS: dict[str, type[Batch | CompletedBatch | CheckedBatch]] = {stage: kind for kind, stage in _STAGES.items()}


@dataclass(frozen=True)
class PinnedPrompt:
    """The texts of a prompt as a run first read them, and the model that it was first sent to."""

    name: str
    text: str
    schema: str
    checks: str
    model: str | None
    endpoint: str | None
    code: str = ""


def open_pass(
    connection: sa.Connection,
    *,
    run_id: str,
    flow: str,
    parameters: Mapping[str, Any],
    flow_run_id: str,
    deployed: bool,
    now: float,
    started_by: str | None = None,
    kind: str = "night",
    of_run: str | None = None,
) -> int:
    """Record that a Prefect flow run begins or continues the run; the pass's id."""
    row = {"run_id": run_id, "flow": flow, "parameters": canonical_json(dict(parameters)).decode(), "started_at": now}
    row |= {"state": RunState.RUNNING, "started_by": started_by, "kind": kind, "of_run": of_run}
    connection.execute(insert(runs).on_conflict_do_nothing(), row)
    set_state(connection, run_id, RunState.RUNNING)
    values = {"run_id": run_id, "flow_run_id": flow_run_id, "deployed": deployed, "started_at": now}
    return int(connection.execute(sa.insert(passes).values(values).returning(passes.c.pass_id)).scalar_one())


def end_pass(connection: sa.Connection, pass_id: int, now: float) -> None:
    """Record that the flow run let go of the run."""
    connection.execute(sa.update(passes).where(passes.c.pass_id == pass_id).values(ended_at=now))


def set_state(connection: sa.Connection, run_id: str, state: RunState, reason: str | None = None) -> None:
    """Record where the run stands, and why."""
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(state=state, reason=reason))


def find_run_of(connection: sa.Connection, flow_run_id: str) -> str | None:
    """The run that a Prefect flow run belongs to."""
    query = sa.select(passes.c.run_id).where(passes.c.flow_run_id == flow_run_id).limit(1)
    return connection.execute(query).scalar()


def find_starter(connection: sa.Connection, run_id: str) -> str | None:
    """Who started the run, where that is known."""
    return connection.execute(sa.select(runs.c.started_by).where(runs.c.run_id == run_id)).scalar()


def pin_source(connection: sa.Connection, run_id: str, source: str) -> None:
    """Record the source that the run pinned."""
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(source=source))


def find_source(connection: sa.Connection, run_id: str) -> str | None:
    """The source that the run pinned."""
    return connection.execute(sa.select(runs.c.source).where(runs.c.run_id == run_id)).scalar()


def pin_prompt(connection: sa.Connection, run_id: str, prompt: Prompt) -> None:
    """Keep the prompt's texts for the run; the first ones stay."""
    row = {
        "run_id": run_id,
        "name": prompt.name,
        "text": prompt.text,
        "schema": prompt.schema,
        "checks": prompt.checks,
        "code": prompt.code,
    }
    connection.execute(insert(run_prompts).on_conflict_do_nothing(), row)


def pin_model(connection: sa.Connection, run_id: str, prompt: Prompt) -> None:
    """Keep the model and endpoint that the run sends the prompt to."""
    connection.execute(
        sa.update(run_prompts)
        .where(run_prompts.c.run_id == run_id, run_prompts.c.name == prompt.name)
        .values(model=prompt.model, endpoint=prompt.endpoint, prompt_hash=prompt.prompt_hash)
    )


def find_pinned_prompt(connection: sa.Connection, run_id: str, name: str) -> PinnedPrompt | None:
    """The prompt that the run pinned under this name."""
    c = run_prompts.c
    query = sa.select(c.name, c.text, c.schema, c.checks, c.model, c.endpoint, c.code)
    query = query.where(c.run_id == run_id, c.name == name)
    row = connection.execute(query).one_or_none()
    return PinnedPrompt(*row) if row else None


def get_prompt_name(connection: sa.Connection, run_id: str, prompt_hash: str) -> str:
    """The name of the run's prompt that has this hash."""
    c = run_prompts.c
    query = sa.select(c.name).where(c.run_id == run_id, c.prompt_hash == prompt_hash)
    return str(connection.execute(query).scalar_one())


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


def find_private(connection: sa.Connection, run_id: str) -> dict[int, tuple[str, ...]]:
    """
    What the prompts of a run declare private, by the step that each is; what one declares holds for later ones.

    A shadow is given another run's rows: what that one's prompts declare holds for each of its steps.
    """
    c = runs.c
    shadowed = connection.execute(sa.select(c.of_run).where(c.run_id == run_id, c.kind == "shadow")).scalar()
    found = _read_declared(connection, run_id)
    if shadowed is None:
        return found
    beside = _read_declared(connection, shadowed)
    names = tuple(dict.fromkeys(name for declared in (found, beside) for each in declared.values() for name in each))
    # It asks the rows of one step, whose number its own prompt does not have.
    return dict.fromkeys([*found, *beside], names)


def _read_declared(connection: sa.Connection, run_id: str) -> dict[int, tuple[str, ...]]:
    c = run_prompts.c
    found: dict[int, tuple[str, ...]] = {}
    so_far: tuple[str, ...] = ()
    # Prompts that were not asked yet stand at the first step too.
    for row in connection.execute(sa.select(c.step, c.text).where(c.run_id == run_id).order_by(c.step)):
        so_far = found[row.step] = tuple(dict.fromkeys((*so_far, *read_private(row.text))))
    return found


def find_step(connection: sa.Connection, run_id: str, name: str) -> int:
    """Which step of the run the prompt is, from 1."""
    c = run_prompts.c
    found = connection.execute(sa.select(c.step).where(c.run_id == run_id, c.name == name)).scalar()
    return found or 1


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
