"""One batch: what is known is taken from the ledger, the rest is asked, and every row is accounted for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson

from overnight.checks import Checks, parse_checks
from overnight.complete.engine import Engine, RunContext
from overnight.complete.row import Asking, Outcome, ask_row, judge_recorded
from overnight.failures import FailureClass, RunHalted
from overnight.keys import request_key
from overnight.ledger import attempts
from overnight.ledger.attempts import Completion, Refusal
from overnight.llm import make_validator
from overnight.parts import read_part, write_part
from overnight.records import Batch, CompletedBatch, Prompt, RowState

_HALTED = Outcome(
    RowState.PENDING, failure_class=FailureClass.STOPPED, reason="The run was halted before this row was sent."
)


def complete_batch(batch: Batch, prompt: Prompt, *, run_id: str, engine: Engine) -> CompletedBatch:
    """
    Have every readable row of the batch answered, from the ledger where it can be.

    A row ends accepted, quarantined with its reason, or pending for a later pass. Where
    the run is halted, rows that were not sent stay pending and `engine.context(run_id).halted` says why.

    Raises:
        PartRefused: The batch's part is missing or altered.
        ModelRefused: The model cannot be started.
    """
    rows = read_part(batch.part, engine.settings.home).to_pylist()
    for row in rows:
        if row["state"] == RowState.PENDING:
            row["request_key"] = request_key(row["input"], prompt.prompt_hash)
    asked = {row["request_key"]: row["input"] for row in rows if row["request_key"]}
    outcomes = engine.run(_complete_requests(asked, prompt, engine, engine.context(run_id)))
    for row in rows:
        if row["request_key"]:
            row.update(vars(outcomes[row["request_key"]]))
    return _manifest(batch, prompt, rows, engine)


async def _complete_requests(
    asked: Mapping[str, str], prompt: Prompt, engine: Engine, context: RunContext
) -> dict[str, Outcome]:
    checks = parse_checks(prompt.checks, prompt=prompt.name)
    known = await asyncio.to_thread(_look_up, asked, checks, engine)
    context.progress.hits += len(known)
    context.progress.done += len(known)
    missing = {key: text for key, text in asked.items() if key not in known}
    return known | (await _ask(missing, prompt, checks, engine, context) if missing else {})


def _look_up(asked: Mapping[str, str], checks: Checks, engine: Engine) -> dict[str, Outcome]:
    """What the ledger has, judged by today's row checks: a new rule costs no call."""
    with engine.ledger.reading() as connection:
        found = attempts.find_completions(connection, list(asked))
        refused = attempts.find_refusals(connection, [key for key in asked if key not in found])
    freed = {key: r for key, r in refused.items() if r.output and _passes(checks, asked[key], r.output)}
    if freed:
        _accept(freed, engine)
    answered = found | {key: Completion(r.attempt_id, r.output or "") for key, r in freed.items()}
    known = {key: judge_recorded(checks, orjson.loads(asked[key]), c.output) for key, c in answered.items()}
    return known | {
        key: Outcome(RowState.QUARANTINED, None, r.failure_class, r.rule, r.reason)
        for key, r in refused.items()
        if key not in freed
    }


def _passes(checks: Checks, input_json: str, output: str) -> bool:
    return judge_recorded(checks, orjson.loads(input_json), output).state is RowState.ACCEPTED


def _accept(freed: Mapping[str, Refusal], engine: Engine) -> None:
    def job(connection: Any) -> None:
        answers = [(key, refusal.attempt_id, refusal.output or "") for key, refusal in freed.items()]
        attempts.accept(connection, answers, time.time())

    engine.ledger.write(job)


async def _ask(
    missing: Mapping[str, str], prompt: Prompt, checks: Checks, engine: Engine, context: RunContext
) -> dict[str, Outcome]:
    client = await engine.client(prompt)
    validator, schema = make_validator(prompt.schema), orjson.loads(prompt.schema)
    asking = Asking(engine, context, prompt, checks, validator, schema, client)
    tasks = [_ask_once(asking, key, text) for key, text in missing.items()]
    # All are waited for, whatever one of them meets: a call in flight is paid for, and is recorded.
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return {key: o for key, o in zip(missing, outcomes, strict=True) if isinstance(o, Outcome)}


async def _ask_once(asking: Asking, key: str, input_json: str) -> Outcome:
    """Ask, or wait for whoever is asking the same now."""
    engine = asking.engine
    if key not in engine.asking:
        engine.asking[key] = asyncio.create_task(ask_row(asking, key, input_json, orjson.loads(input_json)))
        engine.asking[key].add_done_callback(lambda _: engine.asking.pop(key))
    try:
        outcome: Outcome = await engine.asking[key]
    except RunHalted:
        # A call that is in flight is paid for: the others of the batch are waited for and recorded.
        return _HALTED
    progress = asking.context.progress
    progress.done += 1
    progress.quarantined += outcome.state is RowState.QUARANTINED
    return outcome


def _manifest(batch: Batch, prompt: Prompt, rows: list[dict[str, Any]], engine: Engine) -> CompletedBatch:
    states = [row["state"] for row in rows]
    return CompletedBatch(
        n=batch.n,
        part=write_part(rows, engine.settings.home),
        prompt_hash=prompt.prompt_hash,
        n_accepted=states.count(RowState.ACCEPTED),
        n_quarantined=states.count(RowState.QUARANTINED),
        n_pending=states.count(RowState.PENDING),
    )
