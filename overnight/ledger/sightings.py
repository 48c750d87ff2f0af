"""What somebody who looks again and again keeps in mind between two looks, where no run is concerned."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from overnight.ledger.prepared import insert
from overnight.ledger.schema import meta

#: What people were told, and since when a schedule is known: names in the table of facts about the ledger.
_TOLD, _SCHEDULE = "told:", "schedule:"


def was_told_of(connection: sa.Connection, kind: str, about: str) -> bool:
    """Whether people were told this already."""
    return _find(connection, f"{_TOLD}{kind}:{about}") is not None


def record_told_of(connection: sa.Connection, kind: str, about: str, now: float) -> None:
    """Keep that people were told; the first time stays."""
    _keep(connection, f"{_TOLD}{kind}:{about}", now)


def see_schedules(connection: sa.Connection, pool: str | None, active: Sequence[str], now: float) -> dict[str, float]:
    """
    Since when each of these schedules of a work pool has been seen, without a break.

    A deploy replaces Prefect's own records of them, so that these would not say it.

    Args:
        connection: To the ledger.
        pool: Whose they are; None: of all, as who looks by hand sees them.
        active: What names a schedule, its times among it: one whose times are changed is another. What the pool has
            beside these is forgotten.
        now: Seconds since the epoch.
    """
    # A pool's name has no slash. In SQLite LIKE takes capitals for small letters.
    of_pool = f"{_SCHEDULE}{pool or ''}/"
    query = sa.select(meta.c.name).where(meta.c.name.startswith(of_pool, autoescape=True))
    known = {name for name in connection.execute(query).scalars() if name.startswith(of_pool)}
    for gone in known - {of_pool + name for name in active}:
        connection.execute(sa.delete(meta).where(meta.c.name == gone))
    for name in active:
        _keep(connection, of_pool + name, now)
    return {name: _find(connection, of_pool + name) or now for name in active}


def _find(connection: sa.Connection, name: str) -> float | None:
    found = connection.execute(sa.select(meta.c.value).where(meta.c.name == name)).scalar()
    return None if found is None else float(found)


def _keep(connection: sa.Connection, name: str, now: float) -> None:
    connection.execute(insert(meta).on_conflict_do_nothing(), {"name": name, "value": repr(now)})
