"""What people were told of runs: each thing once, however often a flow passes the place where it tells."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.prepared import insert
from overnight.ledger.release_schema import notices
from overnight.ledger.releases import find_release
from overnight.ledger.review_schema import draws, review_answers
from overnight.ledger.schema import passes, runs
from overnight.records import Release, RunState


@dataclass(frozen=True)
class Waiting:
    """A run that waits for a person in Prefect."""

    flow: str
    #: The Prefect flow run that waits.
    flow_run_id: str
    release: Release
    #: Since when it waits in this round.
    since: float

    @property
    def until(self) -> float | None:
        """When its time to wait is over."""
        waits_d = self.release.policy.waits_d
        return self.since + waits_d * 86_400 if waits_d else None


def name_round(release: Release) -> str:
    """What a notice of a wait is about."""
    return f"{release.release_id}:{release.round}"


def was_told(connection: sa.Connection, run_id: str, kind: str, about: str) -> bool:
    """Whether people were told this already."""
    return find_told(connection, run_id, kind, about) is not None


def find_told(connection: sa.Connection, run_id: str, kind: str, about: str) -> float | None:
    """When people were told this."""
    c = notices.c
    query = sa.select(c.told_at).where(c.run_id == run_id, c.kind == kind, c.about == about)
    return connection.execute(query).scalar()


def record_told(connection: sa.Connection, run_id: str, kind: str, about: str, now: float) -> None:
    """Keep that people were told; the first time stays."""
    row = {"run_id": run_id, "kind": kind, "about": about, "told_at": now}
    connection.execute(insert(notices).on_conflict_do_nothing(), row)


def list_waiting(connection: sa.Connection) -> list[Waiting]:
    """The runs that wait for a person in Prefect, oldest first; those that ended by hand have no end to their wait."""
    query = sa.select(runs.c.run_id, runs.c.flow).where(runs.c.state == RunState.WAITING).order_by(runs.c.started_at)
    found = [(flow, find_release(connection, run_id)) for run_id, flow in connection.execute(query)]
    return [w for flow, release in found if release and (w := _find_wait(connection, flow, release))]


def _find_wait(connection: sa.Connection, flow: str, release: Release) -> Waiting | None:
    c = passes.c
    query = sa.select(c.flow_run_id, c.deployed).where(c.run_id == release.run_id).order_by(c.pass_id.desc())
    last, told = connection.execute(query.limit(1)).one(), _find_told_wait(connection, release)
    if not last.deployed and told is None:
        return None
    return Waiting(flow, last.flow_run_id, release, max(told or 0.0, _find_round_start(connection, release)))


def _find_told_wait(connection: sa.Connection, release: Release) -> float | None:
    return find_told(connection, release.run_id, "waiting", name_round(release))


def _find_round_start(connection: sa.Connection, release: Release) -> float:
    """When the last answer came, or when there was none yet the first draw."""
    moments = (
        sa.select(sa.func.max(column)).where(table.c.release_id == release.release_id)
        for table, column in ((draws, draws.c.drawn_at), (review_answers, review_answers.c.recorded_at))
    )
    return max(connection.execute(query).scalar() or 0.0 for query in moments)
