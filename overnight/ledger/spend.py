"""Money across processes: set aside in the commit that opens an attempt, settled in the commit that closes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from overnight.ledger.prepared import Prepared, insert, list_marks
from overnight.ledger.schema import spend

#: Sums of floats that should be equal to a cap may differ by this much.
TOLERANCE_USD = 1e-9


@dataclass(frozen=True)
class Cap:
    """What may be spent under one scope, "run:ID" or "night:DATE"; None: as much as there is."""

    scope: str
    usd: float | None = None


@dataclass(frozen=True)
class Shortfall:
    """A call that does not fit under a cap."""

    cap: Cap
    worst_usd: float
    spent_usd: float
    #: Set aside for calls that have not come back, of this process or another.
    reserved_usd: float


@dataclass(frozen=True)
class Spend:
    """What a scope has spent, and what is set aside for calls that have not come back."""

    spent_usd: float = 0.0
    reserved_usd: float = 0.0

    @property
    def total_usd(self) -> float:
        """What may have been spent: a call that never came back may have been billed."""
        return self.spent_usd + self.reserved_usd


def run_scope(run_id: str) -> str:
    """All that one run spends, whichever process works on it."""
    return f"run:{run_id}"


def night_scope(now: float) -> str:
    """All that is spent from noon to noon, local time: a night is named by the day on which it begins."""
    return f"night:{(datetime.fromtimestamp(now).astimezone() - timedelta(hours=12)).date()}"


def take_turn(connection: sa.Connection, caps: Iterable[Cap]) -> None:
    """
    Wait for whoever is booking on the same scopes, before anything else of a transaction.

    In Postgres two transactions that each hold what the other one wants would end by a deadlock, a second later; all of
    a night take turns on its row instead. SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        _hold_spend(connection, {cap.scope for cap in caps})


def reserve(connection: sa.Connection, wanted: Sequence[tuple[Sequence[Cap], float]]) -> list[Shortfall | None]:
    """Set the worst price of each call aside where it fits under all of its caps; why not, where it does not."""
    found = _hold_spend(connection, {cap.scope for caps, _ in wanted for cap in caps})
    taken: dict[str, float] = {}
    results: list[Shortfall | None] = []
    for caps, worst in wanted:
        short = next((s for cap in caps if (s := _find_shortfall(cap, worst, found, taken))), None)
        results.append(short)
        if short is None:
            for cap in caps:
                taken[cap.scope] = taken.get(cap.scope, 0.0) + worst
    _add(connection, [(scope, 0.0, usd) for scope, usd in taken.items()])
    return results


def settle(connection: sa.Connection, calls: Iterable[tuple[Sequence[Cap], float, float]]) -> None:
    """Free what was set aside for each call, and book what it cost: (caps, reserved, cost)."""
    changes: dict[str, tuple[float, float]] = {}
    for caps, reserved, cost in calls:
        for cap in caps:
            spent, freed = changes.get(cap.scope, (0.0, 0.0))
            changes[cap.scope] = spent + cost, freed - reserved
    _add(connection, [(scope, *change) for scope, change in changes.items()])


def find_spend(connection: sa.Connection, scopes: Iterable[str]) -> dict[str, Spend]:
    """What each scope has come to."""
    query = sa.select(spend).where(spend.c.scope.in_(list(scopes)))
    return {row.scope: Spend(row.spent_usd, row.reserved_usd) for row in connection.execute(query)}


def _hold_spend(connection: sa.Connection, scopes: set[str]) -> dict[str, Spend]:
    """As `find_spend`; until this transaction ends nobody else adds to them."""
    if not scopes:
        return {}
    text = f"SELECT scope, spent_usd, reserved_usd FROM spend WHERE scope IN {list_marks(connection, len(scopes))}"  # noqa: S608 - marks alone
    if connection.dialect.name == "postgresql":
        text += " ORDER BY scope FOR UPDATE"
    rows = connection.exec_driver_sql(text, tuple(scopes)).all()
    if missing := scopes - {row.scope for row in rows}:
        _add(connection, [(scope, 0.0, 0.0) for scope in missing])
        rows = connection.exec_driver_sql(text, tuple(scopes)).all()
    return {row.scope: Spend(row.spent_usd, row.reserved_usd) for row in rows}


def _find_shortfall(cap: Cap, worst: float, found: Mapping[str, Spend], taken: Mapping[str, float]) -> Shortfall | None:
    if cap.usd is None:
        return None
    now = found.get(cap.scope, Spend())
    reserved = now.reserved_usd + taken.get(cap.scope, 0.0)
    if now.spent_usd + reserved + worst <= cap.usd + TOLERANCE_USD:
        return None
    return Shortfall(cap, worst, now.spent_usd, reserved)


def _add(connection: sa.Connection, changes: Sequence[tuple[str, float, float]]) -> None:
    rows = [{"scope": s, "spent_usd": spent, "reserved_usd": reserved} for s, spent, reserved in sorted(changes)]
    _ADD.run(connection, rows)


_NEW = insert(spend)
_RESERVED = spend.c.reserved_usd + _NEW.excluded.reserved_usd
_ADD = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=[spend.c.scope],
        set_={
            "spent_usd": spend.c.spent_usd + _NEW.excluded.spent_usd,
            # Never below nothing, whatever the sums of floats come to.
            "reserved_usd": sa.case((sa.literal_column("0.0") < _RESERVED, _RESERVED), else_=sa.literal_column("0.0")),
        },
    )
)
