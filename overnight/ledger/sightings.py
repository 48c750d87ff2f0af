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


def see_schedules(connection: sa.Connection, active: Sequence[str], now: float) -> dict[str, float]:
    """
    Since when each of these schedules has been seen, without a break.

    A deploy replaces Prefect's own records of them, so that these would not say it.

    Args:
        connection: To the ledger.
        active: What names a schedule, its times among it: one whose times are changed is another. Those that are not
            named are forgotten.
        now: Seconds since the epoch.
    """
    known = set(connection.execute(sa.select(meta.c.name).where(meta.c.name.startswith(_SCHEDULE))).scalars())
    for gone in known - {_SCHEDULE + name for name in active}:
        connection.execute(sa.delete(meta).where(meta.c.name == gone))
    for name in active:
        _keep(connection, _SCHEDULE + name, now)
    return {name: _find(connection, _SCHEDULE + name) or now for name in active}


def _find(connection: sa.Connection, name: str) -> float | None:
    found = connection.execute(sa.select(meta.c.value).where(meta.c.name == name)).scalar()
    return None if found is None else float(found)


def _keep(connection: sa.Connection, name: str, now: float) -> None:
    connection.execute(insert(meta).on_conflict_do_nothing(), {"name": name, "value": repr(now)})
