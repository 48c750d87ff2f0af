"""Which passes still live: a process that was killed says nothing, and nobody renews its lease any more."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.clock import read_clock
from overnight.ledger.leases import Worker, is_free
from overnight.ledger.process import is_gone
from overnight.ledger.schema import leases, passes, runs
from overnight.records import RunState

#: It has claimed nothing itself, and may judge at once.
_ONLOOKER = Worker(0)
#: A run is batched before its process ends: one that is suspended has ended its pass.
_WORKED_ON = (RunState.RUNNING, RunState.BATCHED)


@dataclass(frozen=True)
class LastPass:
    """The newest pass of a run, and where the run stands."""

    run_id: str
    flow: str
    state: str
    #: The Prefect flow run that worked on it last.
    flow_run_id: str
    deployed: bool
    started_at: float
    #: Whether its process let go of it, or is seen to have ended.
    is_over: bool
    #: Whether that is beyond doubt: a lease alone also lapses where the database or the machine was away.
    is_certain: bool


def find_lost(connection: sa.Connection) -> list[LastPass]:
    """The runs that are recorded as worked on, or as with a provider, and whose process is gone, oldest first."""
    query = _LAST.where(runs.c.state.in_(_WORKED_ON), passes.c.ended_at.is_(None)).order_by(passes.c.pass_id)
    return [found for row in connection.execute(query).all() if (found := _judge(connection, row)).is_over]


def find_last_pass(connection: sa.Connection, flow_run_id: str) -> LastPass | None:
    """The newest pass of the run that a Prefect flow run worked on, be it its own or a later one's."""
    of_run = sa.select(passes.c.run_id).where(passes.c.flow_run_id == flow_run_id).limit(1).scalar_subquery()
    row = connection.execute(_LAST.where(passes.c.run_id == of_run)).one_or_none()
    return _judge(connection, row) if row else None


def _judge(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> LastPass:
    facts = (row.run_id, row.flow, row.state, row.flow_run_id, row.deployed, row.started_at)
    if row.ended_at is not None:
        return LastPass(*facts, is_over=True, is_certain=True)
    # Passes of before there were leases say nothing of their life.
    if row.process is None:
        return LastPass(*facts, is_over=False, is_certain=False)
    now = read_clock(connection)
    is_certain = row.clock != now.clock or is_gone(row.process)
    return LastPass(*facts, is_over=is_certain or is_free(row, _ONLOOKER, now), is_certain=is_certain)


_newer = passes.alias()
_LAST = (
    sa.select(
        runs.c.run_id,
        runs.c.flow,
        runs.c.state,
        passes.c.flow_run_id,
        passes.c.deployed,
        passes.c.started_at,
        passes.c.ended_at,
        passes.c.worker_id,
        leases.c.clock,
        leases.c.until,
        leases.c.process,
    )
    .join(passes, passes.c.run_id == runs.c.run_id)
    .join(leases, leases.c.worker_id == passes.c.worker_id, isouter=True)
    .where(~sa.exists().where(_newer.c.run_id == passes.c.run_id, _newer.c.pass_id > passes.c.pass_id))
)
