"""Destinations in the ledger: who writes to one takes turns, and a person may stop all writing to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from overnight.failures import DeliveryHeld
from overnight.ledger.prepared import insert
from overnight.ledger.release_schema import interventions, sinks

#: Stands for every sink.
ALL = "all"


def take_turn(connection: sa.Connection, sink: str) -> int:
    """
    Have the sink to oneself until the transaction ends; how many approvals have been used up for it.

    Raises:
        DeliveryHeld: It is on hold.
    """
    mine = lock_sink(connection, sink)
    for row in (mine, connection.execute(sa.select(sinks).where(sinks.c.sink == ALL)).one_or_none()):
        if row is not None and row.held_by is not None:
            raise DeliveryHeld(_describe(row))
    return int(mine.n_turns)


def lock_sink(connection: sa.Connection, sink: str) -> sa.Row[Any]:
    """Have the sink to oneself until the transaction ends, on hold or not; SQLite's transactions exclude each other."""
    connection.execute(insert(sinks).on_conflict_do_nothing(), {"sink": sink})
    return connection.execute(sa.select(sinks).where(sinks.c.sink == sink).with_for_update()).one()


def hold_sink(connection: sa.Connection, sink: str, *, by: str, reason: str, now: float) -> None:
    """Stop all writing to a sink, or to all: what is in hand is the last."""
    connection.execute(insert(sinks).on_conflict_do_nothing(), {"sink": sink})
    held = {"held_by": by, "held_for": reason, "held_at": now}
    connection.execute(sa.update(sinks).where(sinks.c.sink == sink).values(held))
    record_intervention(connection, "hold", sink, by=by, reason=reason, now=now)


def lift_hold(connection: sa.Connection, sink: str, *, by: str, reason: str, now: float) -> bool:
    """Let writing to a sink go on; whether it was on hold."""
    free = {"held_by": None, "held_for": None, "held_at": None}
    statement = sa.update(sinks).where(sinks.c.sink == sink, sinks.c.held_by.is_not(None))
    was_held = connection.execute(statement.values(free)).rowcount == 1
    if was_held:
        record_intervention(connection, "lift", sink, by=by, reason=reason, now=now)
    return was_held


def list_holds(connection: sa.Connection) -> list[dict[str, Any]]:
    """The sinks on hold: sink, held_by, held_for, held_at."""
    c = sinks.c
    query = sa.select(c.sink, c.held_by, c.held_for, c.held_at).where(c.held_by.is_not(None)).order_by(c.sink)
    return [{str(k): v for k, v in row.items()} for row in connection.execute(query).mappings()]


def record_intervention(
    connection: sa.Connection,
    kind: str,
    sink: str,
    *,
    by: str,
    reason: str,
    now: float,
    release_id: str | None = None,
) -> None:
    """Keep what a person did to deliveries: "hold", "lift", "recall" or "settle"."""
    values = {"kind": kind, "sink": sink, "release_id": release_id, "by": by, "reason": reason, "recorded_at": now}
    connection.execute(sa.insert(interventions).values(values))


def _describe(row: sa.Row[Any]) -> str:
    since = datetime.fromtimestamp(row.held_at).astimezone()
    what = "Every sink" if row.sink == ALL else f"Sink {row.sink!r}"
    return (
        f"{what} is on hold by {row.held_by} since {since:%Y-%m-%d %H:%M} ({row.held_for}): nothing more leaves."
        f" `overnight hold {row.sink} --lift` lets it go on; then continue the run by `overnight review RUN`."
    )
