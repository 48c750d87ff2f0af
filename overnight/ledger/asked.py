"""What was asked before, under which versions of a prompt and over which input: why a row would be asked now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.completions import rows_of
from overnight.ledger.manifests import find_batches
from overnight.ledger.schema import attempts, prompts, requests, run_batches, run_prompts, runs
from overnight.records import Batch


@dataclass(frozen=True)
class PromptVersion:
    """A prompt as it was sent once."""

    prompt_hash: str
    name: str
    text: str
    schema: str
    model: str
    endpoint: str
    #: Canonical JSON.
    parameters: str


def find_asked(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """The keys that were ever asked, whatever came of it."""
    c = requests.c
    return {row.request_key for row in rows_of(connection, sa.select(c.request_key), c.request_key, keys)}


def find_reasked(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """The keys that were asked once more because an answer did not do, or that another model was asked."""
    c = attempts.c
    query = sa.select(c.request_key).where(c.cause.not_in(["first", "again"]) | c.model.is_not(None))
    return {row.request_key for row in rows_of(connection, query, c.request_key, keys)}


def list_other_versions(connection: sa.Connection, name: str, prompt_hash: str, limit: int = 10) -> list[PromptVersion]:
    """The versions of a prompt that were sent besides this one, newest first."""
    c = prompts.c
    query = sa.select(c.prompt_hash, c.name, c.text, c.schema, c.model, c.endpoint, c.parameters)
    query = query.where(c.name == name, c.prompt_hash != prompt_hash).order_by(c.recorded_at.desc()).limit(limit)
    return [PromptVersion(*row) for row in connection.execute(query)]


def find_newest_input(connection: sa.Connection, prompt_name: str) -> list[Batch]:
    """What the newest run that asked this prompt read for it, in order."""
    c, b = run_prompts.c, run_batches.c
    has_input = sa.exists().where(b.run_id == c.run_id, b.step == c.step, b.stage == "input")
    query = sa.select(c.run_id, c.step).join(runs, runs.c.run_id == c.run_id)
    # Without a hash it was pinned and not yet asked: its step is not known either.
    # A night's: a retry reads a few rows of one, and a shadow too.
    query = query.where(c.name == prompt_name, c.prompt_hash.is_not(None), has_input, runs.c.kind == "night")
    query = query.order_by(runs.c.started_at.desc()).limit(1)
    found = connection.execute(query).one_or_none()
    return find_batches(connection, found.run_id, Batch, step=found.step) if found else []
