"""How a run's rows are asked, by when it is to be done, and what it may cost: pinned with it, changed only by hand."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.schema import passes, runs
from overnight.records import Mode


def pin_mode(
    connection: sa.Connection, run_id: str, mode: Mode | None, by_at: float | None
) -> tuple[Mode | None, float | None]:
    """
    Keep how the run's rows are asked, and by when it is to be done; the first ones stay, and are given back.

    Args:
        connection: To the ledger.
        run_id: The run.
        mode: Where somebody said it of the whole run; None: as each prompt says.
        by_at: In seconds since the epoch; None: whenever it is.
    """
    first = {"mode": sa.func.coalesce(runs.c.mode, mode), "by_at": sa.func.coalesce(runs.c.by_at, by_at)}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(first))
    return find_mode(connection, run_id)


def change_mode(
    connection: sa.Connection, run_id: str, mode: Mode | None, now: float, *, by_at: float | None = None
) -> None:
    """
    Have the run's rows be asked otherwise from now on, or be done by another time; None leaves what is pinned.

    Args:
        connection: To the ledger.
        run_id: The run.
        mode: How.
        now: Seconds since the epoch.
        by_at: By when, in seconds since the epoch.
    """
    pinned = find_mode(connection, run_id)
    wanted = (mode or pinned[0], by_at or pinned[1])
    if wanted != pinned:
        values = {"mode": wanted[0], "by_at": wanted[1], "changed_at": now}
        connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(values))


def find_mode(connection: sa.Connection, run_id: str) -> tuple[Mode | None, float | None]:
    """How the run's rows are asked, and by when it is to be done; None where it has pinned none."""
    query = sa.select(runs.c.mode, runs.c.by_at).where(runs.c.run_id == run_id)
    row = connection.execute(query).one_or_none()
    return (Mode(row.mode) if row and row.mode else None, row.by_at if row else None)


def find_changed_at(connection: sa.Connection, run_id: str) -> float | None:
    """When somebody changed how the run's rows are asked, or by when it is to be done."""
    return connection.execute(sa.select(runs.c.changed_at).where(runs.c.run_id == run_id)).scalar()


def find_begun_at(connection: sa.Connection, run_id: str) -> float:
    """From when a time of day is the run's next: its schedule's, or its start; or from when its mode was changed."""
    of_run = sa.select(runs.c.started_at, runs.c.changed_at).where(runs.c.run_id == run_id)
    run = connection.execute(of_run).one()
    first = sa.select(passes.c.scheduled_at).where(passes.c.run_id == run_id).order_by(passes.c.pass_id).limit(1)
    begun_at = connection.execute(first).scalar() or run.started_at
    return float(max(begun_at, run.changed_at or 0.0))


def pin_budget(connection: sa.Connection, run_id: str, budget_usd: float | None, *, replaces: bool) -> None:
    """
    Keep what the run may cost, for all of its passes; None says nothing.

    Args:
        connection: To the ledger.
        run_id: The run.
        budget_usd: In US dollars.
        replaces: Whether it takes the place of the one that is pinned.
    """
    if budget_usd is not None:
        change = sa.update(runs).where(runs.c.run_id == run_id)
        change = change if replaces else change.where(runs.c.budget_usd.is_(None))
        connection.execute(change.values(budget_usd=budget_usd))


def find_budget(connection: sa.Connection, run_id: str) -> float | None:
    """What the run may cost, where that is pinned with it."""
    return connection.execute(sa.select(runs.c.budget_usd).where(runs.c.run_id == run_id)).scalar()
