"""What a purge has dropped of a run, told apart from what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from overnight.failures import PartMissing, PartPurged
from overnight.ledger.kept import find_kept
from overnight.ledger.schema import runs
from overnight.ledger.trace_schema import purges


@dataclass(frozen=True)
class Purge:
    """A purge, and who began it."""

    purge_id: int
    by: str
    recorded_at: float

    @property
    def day(self) -> str:
        """When it began, in words."""
        return f"{datetime.fromtimestamp(self.recorded_at, UTC):%Y-%m-%d %H:%M} UTC"


def find_purge(connection: sa.Connection, run_id: str) -> Purge | None:
    """The first purge that did not leave the run whole; None: there was none."""
    p = purges.c
    began = sa.select(runs.c.started_at).where(runs.c.run_id == run_id).scalar_subquery()
    query = sa.select(p.purge_id, p.by, p.recorded_at, p.before).where(p.before > began).order_by(p.purge_id)
    for row in connection.execute(query).all():
        # Which runs a purge dropped is not kept: what it would find of them today is.
        if run_id in find_kept(connection, row.before, row.recorded_at).others:
            return Purge(row.purge_id, row.by, row.recorded_at)
    return None


@contextmanager
def naming_purge(connection: sa.Connection, run_id: str) -> Iterator[None]:
    """
    While parts of the run are read: a part that is missing because of a purge says so.

    Raises:
        PartPurged: A purge dropped it.
        PartRefused: It was lost, or altered.
    """
    try:
        yield
    except PartMissing as error:
        purge = find_purge(connection, run_id)
        if purge is None:
            raise
        raise PartPurged(
            f"The rows of run {run_id} were dropped by the purge of {purge.day}. `overnight report {run_id}` has its"
            " figures, and `overnight why ROW` what is left of a row that was offered."
        ) from error
