"""Runs: what each one pinned, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.keys import canonical_json
from overnight.ledger.prepared import insert
from overnight.ledger.schema import passes, run_prompts, runs
from overnight.masking import read_private
from overnight.records import Prompt, RunState


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
    worker_id: int | None = None,
    scheduled_at: float | None = None,
) -> int:
    """
    Record that a Prefect flow run begins or continues the run; the pass's id.

    Args:
        connection: To the ledger.
        run_id: The run.
        flow: The flow's name.
        parameters: What the flow was given.
        flow_run_id: Prefect's.
        deployed: Whether a worker runs it.
        now: Seconds since the epoch.
        started_by: Who started it, where that is known.
        kind: "night", "shadow" or "retry".
        of_run: The run that it shadows or retries.
        worker_id: Its process, by whose lease it is seen to live.
        scheduled_at: When its schedule meant it to begin, where one did.
    """
    row = {"run_id": run_id, "flow": flow, "parameters": canonical_json(dict(parameters)).decode(), "started_at": now}
    row |= {"state": RunState.RUNNING, "started_by": started_by, "kind": kind, "of_run": of_run}
    connection.execute(insert(runs).on_conflict_do_nothing(), row)
    set_state(connection, run_id, RunState.RUNNING)
    values = {"run_id": run_id, "flow_run_id": flow_run_id, "deployed": deployed, "started_at": now}
    values |= {"worker_id": worker_id, "scheduled_at": scheduled_at}
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


def list_asked(connection: sa.Connection, run_id: str) -> list[tuple[str, str]]:
    """The models that the run sends its prompts to, PROVIDER:NAME, each with its endpoint."""
    c = run_prompts.c
    query = sa.select(c.model, c.endpoint).where(c.run_id == run_id, c.model.is_not(None), c.endpoint.is_not(None))
    return [(row.model, row.endpoint) for row in connection.execute(query.distinct().order_by(c.model, c.endpoint))]


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
