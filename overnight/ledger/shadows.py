"""Shadow runs: a sample of a run asked of another prompt; a run of its own, of which nothing is offered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import find_private, open_pass, pin_model, pin_prompt, set_state
from overnight.ledger.schema import passes, run_prompts, runs
from overnight.records import Batch, Prompt, RunState

KIND = "shadow"


@dataclass(frozen=True)
class Shadow:
    """A shadow run as it was recorded."""

    run_id: str
    of_run: str
    state: str
    #: What came of it, in a line.
    reason: str | None
    #: What it was pinned with: "budget_usd", "time_s", "rows".
    parameters: Mapping[str, Any]


def name_shadow(run_id: str) -> str:
    """The id of a run's shadow."""
    return f"{run_id}-{KIND}"


def open_shadow(
    connection: sa.Connection,
    of_run: str,
    *,
    flow: str,
    prompt: Prompt,
    sample: Batch,
    parameters: Mapping[str, Any],
    now: float,
) -> None:
    """Record the shadow of a run, with its prompt and the rows that it will ask."""
    run_id = name_shadow(of_run)
    open_pass(
        connection,
        run_id=run_id,
        flow=flow,
        parameters=parameters,
        # Not the flow run's: that belongs to the run that is shadowed.
        flow_run_id=run_id,
        deployed=False,
        now=now,
        kind=KIND,
        of_run=of_run,
    )
    record_prompt(connection, prompt, now)
    pin_prompt(connection, run_id, prompt)
    pin_model(connection, run_id, prompt)
    record_batches(connection, run_id, [sample])


def begin_shadow(connection: sa.Connection, run_id: str, now: float) -> None:
    """Record that the shadow is asked from now on: it was opened before the night's own rows were asked."""
    connection.execute(sa.update(passes).where(passes.c.run_id == run_id).values(started_at=now))


def end_shadow(connection: sa.Connection, run_id: str, state: RunState, reason: str, now: float) -> None:
    """Record what came of the shadow, and that it takes no longer."""
    set_state(connection, run_id, state, reason)
    connection.execute(sa.update(passes).where(passes.c.run_id == run_id).values(ended_at=now))


def find_shadow(connection: sa.Connection, of_run: str) -> Shadow | None:
    """The shadow of a run."""
    c = runs.c
    query = sa.select(c.run_id, c.of_run, c.state, c.reason, c.parameters)
    row = connection.execute(query.where(c.of_run == of_run, c.kind == KIND)).one_or_none()
    return Shadow(row.run_id, of_run, row.state, row.reason, orjson.loads(row.parameters)) if row else None


def find_shadow_asking(connection: sa.Connection, run_id: str, prompt_hash: str) -> str | None:
    """The shadow that such answers are of: the run itself, or one that asked the prompt where the run has not."""
    if connection.execute(sa.select(runs.c.kind).where(runs.c.run_id == run_id)).scalar() == KIND:
        return run_id
    c = run_prompts.c
    own = sa.select(c.name).where(c.run_id == run_id, c.prompt_hash == prompt_hash)
    if connection.execute(own.limit(1)).scalar() is not None:
        return None
    query = sa.select(c.run_id).join(runs, runs.c.run_id == c.run_id)
    query = query.where(c.prompt_hash == prompt_hash, runs.c.kind == KIND).order_by(runs.c.started_at)
    return connection.execute(query.limit(1)).scalar()


def find_private_beside(connection: sa.Connection, prompt_hash: str) -> frozenset[str]:
    """What runs declare private whose rows shadows have asked of the prompt: it may declare less."""
    c = run_prompts.c
    query = sa.select(c.run_id).join(runs, runs.c.run_id == c.run_id)
    shadows = connection.execute(query.where(c.prompt_hash == prompt_hash, runs.c.kind == KIND)).scalars().all()
    return frozenset(name for each in shadows for names in find_private(connection, each).values() for name in names)


def is_asked(shadow: Shadow) -> bool:
    """Whether it has been asked, whatever came of it."""
    return shadow.state != RunState.RUNNING
