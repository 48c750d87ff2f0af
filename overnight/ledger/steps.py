"""What a run used for one of its steps: the prompt that it pinned, and how its figures differed from before."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from overnight.ledger.queries import as_dict
from overnight.ledger.release_schema import release_rows, releases
from overnight.ledger.schema import attempts, run_prompts, runs
from overnight.ledger.trace_schema import measures


def find_pinned(connection: sa.Connection, run_id: str, step: int) -> dict[str, Any] | None:
    """The prompt that the run pinned for a step: its name, and its files by their names."""
    c = run_prompts.c
    query = sa.select(c.name, c.text, c.schema, c.checks, c.code).where(c.run_id == run_id, c.step == step)
    # Until a step is asked its prompt stands at the first step, beside that one's.
    row = connection.execute(query.order_by(c.prompt_hash.is_(None))).first()
    if row is None:
        return None
    files = {"prompt.md": row.text, "output.schema.json": row.schema, "checks.json": row.checks}
    return {"name": row.name, "files": files | ({"checks.py": row.code} if row.code else {})}


def list_changes(connection: sa.Connection, run_id: str, step: int) -> dict[str, Any] | None:
    """What of the step's figures differed from the run that they were compared with; None: they were not taken."""
    c = measures.c
    query = sa.select(c.changes, c.compared_with).where(c.run_id == run_id, c.step == step)
    row = connection.execute(query).one_or_none()
    return {"compared_with": row.compared_with, "changes": orjson.loads(row.changes)} if row else None


def list_runs_of(connection: sa.Connection, row_id: str, key: str) -> list[dict[str, Any]]:
    """The runs that are known to have used the answer, oldest first: those that asked for it, and that offered it."""
    asked = sa.select(attempts.c.run_id).where(attempts.c.request_key == key)
    offered = sa.select(releases.c.run_id).join(release_rows, release_rows.c.release_id == releases.c.release_id)
    offered = offered.where(release_rows.c.row_id == row_id, release_rows.c.request_key == key)
    c, did_ask = runs.c, set(connection.execute(asked).scalars())
    query = sa.select(c.run_id, c.flow, c.kind, c.state, c.started_at)
    query = query.where(c.run_id.in_(asked.union(offered))).order_by(c.started_at)
    return [as_dict(row) | {"did_ask": row.run_id in did_ask} for row in connection.execute(query)]
