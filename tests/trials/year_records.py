"""What a trial writes down of a year itself, and how it looks at the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.trials.year_provider import Given, Posted


@dataclass
class Told:
    """A run as the trial itself knows it."""

    run_id: str
    version: int
    sink: str
    rows: dict[str, str]
    n_bad: int
    night: str
    #: How it will be decided.
    decision: str = "release"
    #: As its last process said.
    state: str = "running"


@dataclass
class World:
    """Everything that was written down outside the ledger."""

    home: Path
    ledger_url: str
    given: Sequence[Given]
    posted: Sequence[Posted]
    runs: dict[str, Told] = field(default_factory=dict)
    #: The last run that was delivered to the file.
    in_file: str = ""
    #: What may be spent of each night, and how often a process was killed on each day.
    caps: dict[str, float] = field(default_factory=dict)
    kills: Counter[int] = field(default_factory=Counter)
    #: Request keys by version of the prompt and text, as they were met.
    keys: dict[tuple[int, str], str] = field(default_factory=dict)

    def read_notes(self) -> list[dict[str, Any]]:
        """What the readers wrote down."""
        path = self.home / "notes.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def look(ledger_url: str) -> Iterator[sa.Connection]:
    """The ledger by a connection of nobody's."""
    with sa.create_engine(ledger_url, poolclass=sa.NullPool).connect() as connection:
        yield connection


def to_hex(value: Any) -> str:
    """A key or digest, as the database gives it."""
    return value if isinstance(value, str) else bytes(value).hex()


def measure_ledger(ledger_url: str) -> int:
    """Its bytes."""
    with look(ledger_url) as connection:
        query = "SELECT pg_database_size(current_database())"
        if connection.dialect.name == "sqlite":
            query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(connection.exec_driver_sql(query).scalar_one())


def describe_year(world: World, counts: Counter[str], n_bytes: int, seconds: float) -> str:
    """A year's figures in one line."""
    n_rows = sum(len(told.rows) + told.n_bad for told in world.runs.values())
    kinds = Counter(given.kind for given in world.given)
    n_keys = len({one.key for one in world.posted})
    return (
        f"{counts['nights']} nights, {len(world.runs)} runs, {n_rows:,} rows, {kinds.total():,} calls of which"
        f" {kinds.total() - kinds['good']:,} went wrong in {len(kinds) - 1} ways, {counts['kills']} kills,"
        f" {counts['continued']} runs continued, {counts['purges']} purges of {counts['purged requests']:,} requests;"
        f" released {counts['day released']}, rejected {counts['day rejected']}, held {counts['day held']},"
        f" {counts['refused when over']} approvals over; {counts['deliveries']:,} rows promised,"
        f" {len(world.posted):,} posts of {n_keys:,} keys; invoice ${sum(g.usd for g in world.given):.4f};"
        f" ledger {n_bytes / 1e6:.1f} MB; {seconds:.0f} s"
    )
