"""What a step of a run sent, counted by the database."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.schema import attempts, completions, quarantines, requests, run_prompts
from overnight.taxonomy import FailureClass

_A = attempts.c
#: Attempts whose answer came back, or whose failure is known.
_CLOSED = ("accepted", "failed", "fenced")
#: Why a request is sent other than for the first time or after a fault in transit.
_REPAIRS = ("same", "reask", "raise_limit", "stronger", "fallback")
#: By the model's own word, or its provider's.
DECLINED = (FailureClass.REFUSAL, FailureClass.CONTENT_FILTER)
_TOO_MANY, _SERVER_ERROR = 429, 500


@dataclass
class Calls:
    """The attempts of one step of a run, added up."""

    #: Different requests that were sent, and those that the run itself had settled: answered, or refused for good.
    n_requests: int = 0
    n_resolved: int = 0
    n_attempts: int = 0
    n_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    #: Over all attempts, failed ones too; None where somebody did not say what a call cost.
    cost_usd: float | None = 0.0
    n_rate_limited: int = 0
    n_server_errors: int = 0
    #: Different requests that were asked again otherwise than before, and that were declined at least once.
    n_reasked: int = 0
    n_refused: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    #: Attempts by the class that they failed with.
    failures: Counter[str] = field(default_factory=Counter)
    #: Of the calls that came back.
    latencies_s: array[float] = field(default_factory=lambda: array("d"))


def count_calls(connection: sa.Connection, run_id: str, prompt_hash: str) -> Calls:
    """What the run sent for the prompt with this hash."""
    calls, only = Calls(), _OfStep(connection, run_id, prompt_hash)
    for row in connection.execute(only(_GROUPS).group_by(*_KEYS)):
        _add(calls, row)
    distinct = only(_REQUESTS)
    calls.n_requests = connection.execute(distinct).scalar_one()
    calls.n_reasked = connection.execute(distinct.where(_A.cause.in_(_REPAIRS))).scalar_one()
    calls.n_refused = connection.execute(distinct.where(_A.failure_class.in_(DECLINED))).scalar_one()
    calls.n_resolved = connection.execute(only(_RESOLVED)).scalar_one()
    latencies = only(sa.select(_A.latency_s))
    latencies = latencies.where(_A.latency_s.is_not(None), _A.outcome.in_(_CLOSED))
    for some in connection.execute(latencies.execution_options(yield_per=10_000)).scalars().partitions():
        calls.latencies_s.extend(some)
    return calls


@dataclass
class Histories:
    """What became of requests over all runs that sent them; a request counts once for each thing."""

    #: Those that were ever sent.
    n_requests: int = 0
    n_reasked: int = 0
    n_refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)


def count_histories(connection: sa.Connection, keys: Sequence[str]) -> Histories:
    """How the requests with these keys fared, whoever sent them: an answer that is a hit was asked for once too."""
    query = sa.select(_A.request_key, _A.failure_class, _A.cause).distinct().where(_A.outcome != "unsent")
    found = Histories()
    for some in batched(keys):
        rows = connection.execute(query.where(_A.request_key.in_(some))).all()
        failed = {(row.request_key, row.failure_class) for row in rows if row.failure_class}
        found.n_requests += len({row.request_key for row in rows})
        found.n_reasked += len({row.request_key for row in rows if row.cause in _REPAIRS})
        found.n_refused += len({key for key, failure in failed if failure in DECLINED})
        found.failed.update(failure for _, failure in failed)
    return found


def _add(calls: Calls, row: sa.Row[Any]) -> None:
    calls.n_attempts += row.n
    calls.n_calls += row.n if row.outcome in _CLOSED else 0
    calls.input_tokens += row.input_tokens or 0
    calls.output_tokens += row.output_tokens or 0
    is_known = calls.cost_usd is not None and not (row.n_unpriced and row.outcome in _CLOSED)
    calls.cost_usd = (calls.cost_usd or 0.0) + (row.cost_usd or 0.0) if is_known else None
    status = row.status or 0
    calls.n_rate_limited += row.n if status == _TOO_MANY else 0
    calls.n_server_errors += row.n if status >= _SERVER_ERROR else 0
    if row.model_served:
        calls.by_model[row.model_served] += row.n
    if row.failure_class:
        calls.failures[row.failure_class] += row.n


class _OfStep:
    """Narrows a query to the attempts of one step."""

    def __init__(self, connection: sa.Connection, run_id: str, prompt_hash: str) -> None:
        self._of_run = (_A.run_id == run_id) & (_A.outcome != "unsent")
        self._prompt_hash = prompt_hash
        n_prompts = sa.select(sa.func.count()).where(run_prompts.c.run_id == run_id)
        # The join takes most of the time, and of a run with one prompt it would leave nothing out.
        self._joins = connection.execute(n_prompts).scalar_one() > 1

    def __call__(self, query: sa.Select[Any]) -> sa.Select[Any]:
        query = query.select_from(attempts).where(self._of_run)
        if not self._joins:
            return query
        # A fallback's attempt belongs to the request of the prompt's own model.
        joined = query.join(requests, requests.c.request_key == _A.request_key)
        return joined.where(requests.c.prompt_hash == self._prompt_hash)


_KEYS = (_A.outcome, _A.failure_class, _A.status, _A.model_served)
_GROUPS = sa.select(
    *_KEYS,
    sa.func.count().label("n"),
    sa.func.sum(_A.input_tokens).label("input_tokens"),
    sa.func.sum(_A.output_tokens).label("output_tokens"),
    sa.func.sum(_A.cost_usd).label("cost_usd"),
    sa.func.count()
    .filter(_A.cost_usd.is_(None) & ((_A.outcome == "accepted") | (_A.input_tokens > 0)))
    .label("n_unpriced"),
)
_REQUESTS = sa.select(sa.func.count(sa.distinct(_A.request_key)))
# By attempt: an answer that one rule refused and a later one let pass stands in both tables, paid for once.
_RESOLVED = sa.select(sa.func.count()).where(
    sa.or_(
        *(
            sa.exists().where(t.c.request_key == _A.request_key, t.c.attempt_id == _A.attempt_id)
            for t in (completions, quarantines)
        )
    )
)
