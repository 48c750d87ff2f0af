"""What two prompts, models or runs are compared by: versions, answers, attempts and what people said, as streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from overnight.ledger.asked import PromptVersion
from overnight.ledger.release_schema import release_rows, releases
from overnight.ledger.review_schema import review_answers, verdicts
from overnight.ledger.reviews import ENDED
from overnight.ledger.schema import attempts, completions, prompts, quarantines, requests
from overnight.ledger.trace_schema import readings

_N_DIGITS = 64
#: Rows that are in memory at once.
_AT_ONCE = 5000


class AskedRow(NamedTuple):
    """A request and what it came to."""

    request_key: str
    #: Canonical JSON; empty where it was purged.
    input: str
    #: Of the accepted answer; None: there is none.
    output: str | None
    #: Where it was refused for good, why.
    failure_class: str | None
    reason: str | None


class Took(NamedTuple):
    """What one attempt took; None where nobody said."""

    request_key: str
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    latency_s: float | None


class Said(NamedTuple):
    """What somebody said of the answer to a request."""

    request_key: str
    #: "correct", "corrected", "wrong" or "unsure".
    verdict: str
    #: The output as it should be, as JSON.
    correction: str | None


def list_asked_versions(
    connection: sa.Connection, *, beginning: str = "", name: str | None = None, model: str | None = None
) -> list[PromptVersion]:
    """The prompts that were asked, newest first: those whose hash begins so, of this name, of this model."""
    c = prompts.c
    query = sa.select(c.prompt_hash, c.name, c.text, c.schema, c.model, c.endpoint, c.parameters)
    query = query.where(c.prompt_hash.between(beginning.ljust(_N_DIGITS, "0"), beginning.ljust(_N_DIGITS, "f")))
    query = query.where(c.name == name) if name else query
    query = query.where(c.model == model) if model else query
    # A replay keeps its prompt too, and asks no row with it.
    query = query.where(sa.exists().where(requests.c.prompt_hash == c.prompt_hash))
    return [PromptVersion(*row) for row in connection.execute(query.order_by(c.recorded_at.desc(), c.prompt_hash))]


def get_version(connection: sa.Connection, prompt_hash: str) -> PromptVersion:
    """The prompt of this hash."""
    c = prompts.c
    query = sa.select(c.prompt_hash, c.name, c.text, c.schema, c.model, c.endpoint, c.parameters)
    return PromptVersion(*connection.execute(query.where(c.prompt_hash == prompt_hash)).one())


def stream_asked(connection: sa.Connection, prompt_hash: str) -> Iterator[AskedRow]:
    """Every request of a prompt with its answer or refusal."""
    yield from map(AskedRow._make, _stream(connection, _asked().where(requests.c.prompt_hash == prompt_hash)))


def get_asked(connection: sa.Connection, beginning: str) -> AskedRow:
    """The request whose key begins so."""
    c = requests.c.request_key
    between = c.between(beginning.ljust(_N_DIGITS, "0"), beginning.ljust(_N_DIGITS, "f"))
    return AskedRow._make(connection.execute(_asked().where(between).limit(1)).one())


def stream_took(connection: sa.Connection, prompt_hash: str) -> Iterator[Took]:
    """What every attempt at a prompt's requests took, whichever run made it."""
    a = attempts.c
    query = sa.select(a.request_key, a.outcome, a.input_tokens, a.output_tokens, a.cost_usd, a.latency_s)
    query = query.join(requests, requests.c.request_key == a.request_key)
    query = query.where(requests.c.prompt_hash == prompt_hash, a.outcome != "unsent")
    yield from map(Took._make, _stream(connection, query))


def list_verdicts(connection: sa.Connection, prompt_hash: str) -> list[Said]:
    """What reviewers said of a prompt's answers, oldest first; not of reviews that are open, which it could help."""
    v, r, a = verdicts.c, release_rows.c, review_answers.c
    later = review_answers.alias()
    is_last = ~sa.exists().where(later.c.release_id == a.release_id, later.c.round > a.round)
    has_ended = sa.exists().where(a.release_id == v.release_id, a.outcome.in_(ENDED), is_last)
    query = (
        sa.select(r.request_key, v.verdict, v.correction)
        .join(release_rows, (r.release_id == v.release_id) & (r.delivery_key == v.delivery_key))
        .join(releases, releases.c.release_id == v.release_id)
        .where(releases.c.prompt_hash == prompt_hash, has_ended)
        .order_by(v.recorded_at, v.round, v.item)
    )
    return [Said._make(row) for row in connection.execute(query)]


def list_readings(connection: sa.Connection, prompt_hash: str) -> list[Said]:
    """What readers of whole traces said of a prompt's answers, oldest first."""
    c = readings.c
    query = sa.select(c.request_key, c.verdict, sa.null().label("correction"))
    query = query.join(requests, requests.c.request_key == c.request_key)
    query = query.where(requests.c.prompt_hash == prompt_hash).order_by(c.recorded_at, c.reading_id)
    return [Said._make(row) for row in connection.execute(query)]


def _asked() -> sa.Select[Any]:
    r, c, q = requests.c, completions.c, quarantines.c
    refused = sa.case((c.request_key.is_(None), q.failure_class)).label("failure_class")
    why = sa.case((c.request_key.is_(None), q.reason)).label("reason")
    query = sa.select(r.request_key, r.input, c.output, refused, why)
    query = query.outerjoin(completions, c.request_key == r.request_key)
    return query.outerjoin(quarantines, q.request_key == r.request_key)


def _stream(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
    for some in connection.execution_options(yield_per=_AT_ONCE).execute(query).partitions():
        yield from some
