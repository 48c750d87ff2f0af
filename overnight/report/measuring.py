"""The ledger's attempts and the parts of a step → its figures, and what its rows are like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.ledger.calls import DECLINED, Calls, Histories, count_calls, count_histories
from overnight.ledger.manifests import find_batches, find_latest_batches
from overnight.ledger.runs import find_pinned_prompt, get_prompt_name
from overnight.parts import read_columns
from overnight.place import PartsPlace
from overnight.prompts import parse_prompt
from overnight.records import Batch, CheckedBatch, CompletedBatch, Prompt
from overnight.report.figures import Figures
from overnight.report.profile import Profile, Rate
from overnight.report.profiler import Profiler

#: Columns of a part that figures are made of.
_COLUMNS = ("row_id", "input", "state", "request_key", "output", "failure_class", "rule")
_Asked = CompletedBatch | CheckedBatch


@dataclass(frozen=True)
class Measured:
    """A step's figures, what its rows are like, and its prompt."""

    figures: Figures
    profile: Profile
    prompt: Prompt


def list_asked_steps(connection: sa.Connection, run_id: str) -> dict[int, bool]:
    """The steps of a run of which a batch was asked at least, each with whether all of them have been checked."""
    latest = find_latest_batches(connection, run_id)
    steps = sorted({step for (step, _), b in latest.items() if not isinstance(b, Batch)})
    return {step: all(isinstance(b, CheckedBatch) for (s, _), b in latest.items() if s == step) for step in steps}


def measure_step(run_id: str, step: int, *, ledger: Ledger, place: PartsPlace) -> Measured:
    """
    The figures and the profile of a step of which a batch was asked at least.

    Batch by batch: a run of a million rows is never held in memory.

    Raises:
        PartRefused: A part is missing, or altered.
    """
    with ledger.reading() as connection:
        latest = [b for (s, _), b in sorted(find_latest_batches(connection, run_id).items()) if s == step]
        prompt = _find_prompt(connection, run_id, next(b for b in latest if not isinstance(b, Batch)))
        calls = count_calls(connection, run_id, prompt.prompt_hash)
        n_answered = _count_answered(connection, run_id, step)
    profiler = Profiler(prompt, sum(b.part.n_rows for b in latest))
    for batch in latest:
        for row in _iter_rows(batch, place):
            profiler.take(row)
    own: dict[str, Any] = {
        "run_id": run_id,
        "step": step,
        "prompt_name": prompt.name,
        "prompt_hash": prompt.prompt_hash,
    }
    figures = Figures(
        **own,
        model=prompt.model,
        **_tell_rows(latest, profiler),
        **_tell_hits(n_answered, calls),
        **_tell_calls(calls),
        **_tell_cost(calls, profiler.n_accepted),
        **_tell_failures(calls, profiler.hedges),
        **_tell_latencies(calls),
    )
    with ledger.reading() as connection:
        histories = count_histories(connection, profiler.keys)
    return Measured(figures, profiler.finish(_list_rates(histories)), prompt)


def _find_prompt(connection: sa.Connection, run_id: str, batch: _Asked) -> Prompt:
    """As the run pinned it: its folder may have changed since, or be gone."""
    name = get_prompt_name(connection, run_id, batch.prompt_hash)
    pinned = find_pinned_prompt(connection, run_id, name)
    assert pinned is not None  # noqa: S101 - its name was just read from there
    prompt = parse_prompt(name, text=pinned.text, schema=pinned.schema, checks=pinned.checks, code=pinned.code)
    return replace(prompt, prompt_hash=batch.prompt_hash, model=pinned.model or prompt.model)


def _count_answered(connection: sa.Connection, run_id: str, step: int) -> int:
    """Rows that were answered or refused for good, whoever paid for it; not those that intake set aside."""
    before = {b.n: b.n_quarantined for b in find_batches(connection, run_id, Batch, step=step)}
    completed = find_batches(connection, run_id, CompletedBatch, step=step)
    return sum(b.n_accepted + b.n_quarantined - before.get(b.n, 0) for b in completed)


def _iter_rows(batch: Batch | _Asked, place: PartsPlace) -> Iterator[dict[str, Any]]:
    columns = read_columns(batch.part, place)
    for values in zip(*(columns[name] for name in _COLUMNS), strict=True):
        yield dict(zip(_COLUMNS, values, strict=True))


def _tell_rows(latest: Sequence[Batch | _Asked], profiler: Profiler) -> dict[str, Any]:
    n_rows = sum(b.part.n_rows for b in latest)
    n_quarantined = sum(b.n_quarantined for b in latest)
    n_accepted = sum(0 if isinstance(b, Batch) else b.n_accepted for b in latest)
    return {
        "n_rows": n_rows,
        "n_accepted": n_accepted,
        "n_quarantined": n_quarantined,
        "n_pending": n_rows - n_accepted - n_quarantined,
        "set_aside": dict(profiler.set_aside),
        "warned": dict(profiler.warned),
    }


def _tell_hits(n_answered: int, calls: Calls) -> dict[str, Any]:
    n_hits = max(0, n_answered - calls.n_resolved)
    return {"n_hits": n_hits, "hit_rate": _share(n_hits, n_answered)}


def _tell_calls(calls: Calls) -> dict[str, Any]:
    return {
        "n_requests": calls.n_requests,
        "n_attempts": calls.n_attempts,
        "n_calls": calls.n_calls,
        "input_tokens": calls.input_tokens,
        "output_tokens": calls.output_tokens,
        "input_tokens_per_request": _share(calls.input_tokens, calls.n_requests),
        "output_tokens_per_request": _share(calls.output_tokens, calls.n_requests),
        "calls_by_model": dict(calls.by_model),
    }


def _tell_cost(calls: Calls, n_accepted: int) -> dict[str, Any]:
    cost = calls.cost_usd
    return {"cost_usd": cost, "cost_per_accepted_usd": None if cost is None else _share(cost, n_accepted)}


def _tell_failures(calls: Calls, hedges: Rate) -> dict[str, Any]:
    return {
        "failure_classes": dict(calls.failures),
        "n_refused": calls.n_refused,
        "refusal_rate": _share(calls.n_refused, calls.n_requests),
        "n_hedges": hedges.n,
        "n_searched": hedges.of,
        "hedge_rate": _share(hedges.n, hedges.of),
        "n_reasked": calls.n_reasked,
        "reask_rate": _share(calls.n_reasked, calls.n_requests),
        "n_rate_limited": calls.n_rate_limited,
        "n_server_errors": calls.n_server_errors,
    }


def _tell_latencies(calls: Calls) -> dict[str, Any]:
    names = ("latency_p50_s", "latency_p95_s", "latency_p99_s")
    if not calls.latencies_s:
        return dict.fromkeys(names)
    import numpy as np  # noqa: PLC0415 - a tenth of a second, and runs of hits alone need none of it

    found = np.percentile(np.frombuffer(calls.latencies_s), [50, 95, 99])
    return dict(zip(names, map(float, found), strict=True))


def _list_rates(found: Histories) -> dict[str, Rate]:
    """Of requests, not of attempts: one row that fails four times is one row. And of hits too: they are offered."""
    counts = {"refusals": found.n_refused, "reasks": found.n_reasked}
    counts |= {f"failed.{name}": n for name, n in found.failed.items() if name not in DECLINED}
    return {f"rate.{name}": Rate(n, found.n_requests) for name, n in counts.items()}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
