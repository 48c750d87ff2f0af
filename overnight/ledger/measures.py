"""Figures of runs: kept by step, and the run that another is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.prepared import insert
from overnight.ledger.queries import as_dict
from overnight.ledger.release_schema import approvals, releases
from overnight.ledger.schema import runs
from overnight.ledger.trace_schema import measures

_M = measures.c
#: Nights that are tried, the last first, where one after the other cannot be compared with.
_N_LOOKED_BACK = 100


@dataclass(frozen=True)
class Measures:
    """What a step of a run came to, as it is kept."""

    run_id: str
    step: int
    prompt_name: str
    prompt_hash: str
    #: JSON of `report.figures.Figures`, `report.profile.Profile` and a list of `report.drift.Change`.
    figures: str
    profile: str
    changes: str
    #: The run that it was compared with; None: there was none.
    compared_with: str | None
    measured_at: float


@dataclass(frozen=True)
class Night:
    """A run with what one of its steps came to."""

    flow: str
    state: str
    started_at: float
    measures: Measures


def record_measures(connection: sa.Connection, found: Measures) -> None:
    """Keep them; those of a later pass replace those of an earlier one."""
    values = vars(found)
    names = ("run_id", "step")
    new = insert(measures).values(**values)
    changed = {name: new.excluded[name] for name in values if name not in names}
    connection.execute(new.on_conflict_do_update(index_elements=list(names), set_=changed))


def find_measures(connection: sa.Connection, run_id: str) -> dict[int, Measures]:
    """Those of a run, by step, in order."""
    query = sa.select(measures).where(_M.run_id == run_id).order_by(_M.step)
    return {row.step: Measures(**as_dict(row)) for row in connection.execute(query)}


def find_reference(
    connection: sa.Connection,
    prompt_name: str,
    before_run: str,
    *,
    since: str | None = None,
    serves: Callable[[Measures], bool] = lambda _: True,
) -> Measures | None:
    """
    What a run is compared with: the last earlier night of its flow whose release was approved.

    Args:
        connection: To the ledger.
        prompt_name: Whose answers are compared.
        before_run: The run that is compared.
        since: A run that was accepted by name, approved or not; a later one that was approved takes its place.
        serves: Whether anything can be held against it; where not, an earlier one is looked for, but for `since`.
    """
    this = runs.alias()
    is_approved = sa.exists(
        sa.select(releases.c.release_id)
        .join(approvals, approvals.c.release_id == releases.c.release_id)
        .where(releases.c.run_id == runs.c.run_id, approvals.c.state.in_(["approved", "consumed"]))
    )
    is_earlier = (runs.c.flow == this.c.flow) & (runs.c.started_at <= this.c.started_at)
    query = (
        sa.select(_M.run_id, _M.step)
        .join(runs, runs.c.run_id == _M.run_id)
        .join(this, (this.c.run_id == before_run) & (this.c.run_id != runs.c.run_id))
        .where(_M.prompt_name == prompt_name, runs.c.kind == "night")
        .where((is_earlier & is_approved) | (runs.c.run_id == since))
        .order_by(runs.c.started_at.desc(), runs.c.run_id.desc())
        .limit(_N_LOOKED_BACK)
    )
    found = (find_measures(connection, row.run_id)[row.step] for row in connection.execute(query).all())
    return next((kept for kept in found if kept.run_id == since or serves(kept)), None)


def list_measures(
    connection: sa.Connection,
    prompt_name: str,
    *,
    limit: int = 14,
    flow: str | None = None,
    until: float | None = None,
) -> list[Night]:
    """The last nights of a prompt, of one flow or of all, oldest first; none that began after `until`."""
    query = (
        sa.select(measures, runs.c.flow, runs.c.state, runs.c.started_at)
        .join(runs, runs.c.run_id == _M.run_id)
        .where(_M.prompt_name == prompt_name, runs.c.kind == "night")
        .order_by(runs.c.started_at.desc(), runs.c.run_id.desc())
        .limit(limit)
    )
    query = query.where(runs.c.flow == flow) if flow else query
    query = query.where(runs.c.started_at <= until) if until is not None else query
    rows = [as_dict(row) for row in connection.execute(query)]
    return [
        Night(
            flow=row.pop("flow"),
            state=row.pop("state"),
            started_at=row.pop("started_at"),
            measures=Measures(**row),
        )
        for row in reversed(rows)
    ]
