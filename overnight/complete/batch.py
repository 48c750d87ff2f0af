"""One batch: what is known is taken from the ledger, the rest is asked, and every row is accounted for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.checks import BatchMemory, Checks, parse_checks
from overnight.complete.asking import Asking, Outcome
from overnight.complete.context import RunContext
from overnight.complete.deferral import find_reason_to_wait
from overnight.complete.engine import Engine
from overnight.complete.judge import judge_recorded
from overnight.complete.manifest import make_completed
from overnight.complete.provider.handing_over import describe_waiting
from overnight.complete.recall import Recalled, recall
from overnight.complete.row import ask_row
from overnight.complete.watch import watching_batch
from overnight.failures import RunHalted
from overnight.keys import request_key
from overnight.ledger.completions import Completion, accept
from overnight.ledger.provider_batch_items import InBatch, find_in_batches
from overnight.ledger.retries import Retry, find_retry, lift_refusals
from overnight.ledger.runs import find_private
from overnight.ledger.sends import Sends, find_sends
from overnight.llm import make_validator
from overnight.parts import read_columns, write_columns
from overnight.records import Batch, CompletedBatch, Prompt, RowState
from overnight.taxonomy import FailureClass

_HALTED = Outcome(
    RowState.PENDING, failure_class=FailureClass.STOPPED, reason="The run was halted before this row was sent."
)

#: Rows of a batch that are under way at once, those that wait to be asked again among them: a batch of a long run may
#: have many thousands, and each that is under way takes some kilobytes.
_AT_ONCE = 2000


@dataclass(frozen=True)
class _Known:
    """What the ledger has of a batch's requests."""

    outcomes: dict[str, Outcome]
    #: Of the others, what this run has sent in vain.
    sends: dict[str, Sends]
    #: Of the others, those for which an answer came with a provider batch that nobody has judged.
    arrived: set[str]


def complete_batch(batch: Batch, prompt: Prompt, *, run_id: str, engine: Engine, pass_n: int = 1) -> CompletedBatch:
    """
    Have every readable row of the batch answered, from the ledger where it can be.

    A row ends accepted, quarantined with its reason, or pending for a later pass. Where
    the run is halted, rows that were not sent stay pending and `engine.context(run_id).halted` says why.

    Args:
        batch: The rows.
        prompt: What they are asked.
        run_id: Whose attempts, money and progress they count for.
        engine: Who sends them.
        pass_n: How often the run has gone over its rows, with this time, from 1.

    Raises:
        PartRefused: The batch's part is missing or altered.
        ModelRefused: The model cannot be started.
        PromptRefused: A check of the project fails.
    """
    with watching_batch(batch, prompt, run_id=run_id, engine=engine, pass_n=pass_n) as take:
        completed = _complete(batch, prompt, engine, engine.context(run_id), pass_n)
        take(completed)
    return completed


def _complete(batch: Batch, prompt: Prompt, engine: Engine, context: RunContext, pass_n: int) -> CompletedBatch:
    columns, place = read_columns(batch.part, engine.settings.parts), engine.settings.parts
    keys = [
        request_key(text, prompt.prompt_hash) if state == RowState.PENDING else None
        for state, text in zip(columns["state"], columns["input"], strict=True)
    ]
    asked = {key: text for key, text in zip(keys, columns["input"], strict=True) if key}
    private = _find_private(prompt, engine, context.run_id, batch.step)
    checks = replace(parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code), private=private)
    outcomes = engine.run(_complete_requests(asked, prompt, checks, engine, context, is_first=pass_n == 1))
    filled = _fill(columns, keys, outcomes)
    context.n_in_batches[batch.n] = filled["failure_class"].count(FailureClass.IN_BATCH)
    context.n_in_doubt[batch.n] = filled["failure_class"].count(FailureClass.IN_DOUBT)
    part = write_columns(columns | filled | {"request_key": keys}, place)
    return make_completed(batch, prompt, part, filled["state"])


def _fill(
    columns: Mapping[str, Sequence[Any]], keys: Sequence[str | None], outcomes: Mapping[str, Outcome]
) -> dict[str, Sequence[Any]]:
    """What became of the rows, by column; rows that were set aside at intake stay as they are."""
    found = [outcomes[key] if key else None for key in keys]
    return {
        name: [old if o is None else getattr(o, name) for o, old in zip(found, columns[name], strict=True)]
        for name in Outcome._fields
    }


async def _complete_requests(
    asked: Mapping[str, str], prompt: Prompt, checks: Checks, engine: Engine, context: RunContext, *, is_first: bool
) -> dict[str, Outcome]:
    memory = BatchMemory() if checks.compares_rows else None
    known = await asyncio.to_thread(_look_up, asked, checks, memory, engine, context)
    if is_first:
        n_hits = sum(o.state is not RowState.PENDING for o in known.outcomes.values())
        context.progress.hits += n_hits
        context.progress.done += n_hits
    missing = {key: text for key, text in asked.items() if key not in known.outcomes}
    if not missing:
        return known.outcomes
    validator, schema = make_validator(prompt.schema, quotes=not checks.private), orjson.loads(prompt.schema)
    asking = Asking(engine, context, prompt, checks, memory, validator, schema, known.arrived)
    await asking.lane("own")  # a model that does not start fails the batch, not its rows
    assert engine.elsewhere.worker is not None, "a lane registers its process"  # noqa: S101 - narrows the type
    async with engine.pulse.beating(context.run_id, engine.elsewhere.worker):
        return known.outcomes | await _ask_all(asking, missing, known.sends)


def _find_private(prompt: Prompt, engine: Engine, run_id: str, step: int) -> tuple[str, ...]:
    """What the prompt declares private, and those that the run asked before it."""
    found = engine.ledger.read(lambda connection: find_private(connection, run_id))
    return tuple(dict.fromkeys((*prompt.private, *found.get(step, ()))))


def _look_up(
    asked: Mapping[str, str], checks: Checks, memory: BatchMemory | None, engine: Engine, context: RunContext
) -> _Known:
    run_id = context.run_id

    def look(connection: sa.Connection) -> tuple[Recalled, Retry | None, dict[str, Sends], dict[str, InBatch]]:
        retry = find_retry(connection, run_id)
        found = recall(asked, checks, memory, connection, retry=retry)
        missing = [key for key in asked if key not in found.outcomes]
        return found, retry, find_sends(connection, run_id, missing), find_in_batches(connection, missing)

    found, retry, sends, in_batches = engine.ledger.read(look)
    if retry and found.lifted:
        engine.ledger.write(lambda connection: lift_refusals(connection, sorted(found.lifted), retry, time.time()))
    if found.freed:
        engine.ledger.write(lambda connection: accept(connection, list(found.freed.items()), time.time()))
    waiting = {
        key: Outcome(RowState.PENDING, None, *why) for key, s in sends.items() if (why := find_reason_to_wait(s))
    }
    waiting |= {key: describe_waiting(b) for key, b in in_batches.items() if not b.has_result}
    context.awaited.update(b.batch_id for b in in_batches.values() if not b.has_result)
    return _Known(found.outcomes | waiting, sends, {key for key, b in in_batches.items() if b.has_result})


async def _ask_all(asking: Asking, missing: Mapping[str, str], sends: Mapping[str, Sends]) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    rows = iter(missing.items())

    async def ask_in_turn() -> None:
        for key, text in rows:
            outcomes[key] = await _ask_once(asking, key, text, sends.get(key, Sends()))

    asked = await asyncio.gather(*(ask_in_turn() for _ in range(min(len(missing), _AT_ONCE))), return_exceptions=True)
    # All are waited for, whatever one of them meets: a call in flight is paid for, and is recorded.
    for error in asked:
        if error is not None:
            raise error
    return outcomes


async def _share(asking: Asking, key: str, values: Mapping[str, Any]) -> Outcome | None:
    """What comes of it where another batch, or run, is asking the same now; judged by one's own checks."""
    while task := asking.engine.asking.get(key):
        try:
            with asking.context.waiting():
                outcome: Outcome = await asyncio.shield(task)
        except RunHalted:
            asking.context.raise_if_halted()
            continue  # it was the other run that stopped
        if outcome.output is None:
            return outcome
        return judge_recorded(asking.checks, asking.memory, values, Completion(0, outcome.output, outcome.model))
    return None


async def _ask_alone(asking: Asking, key: str, input_json: str, values: Mapping[str, Any], sends: Sends) -> Outcome:
    asked = asking.engine.asking[key] = asyncio.get_running_loop().create_future()
    try:
        outcome = await ask_row(asking, key, input_json, values, sends)
        asked.set_result(outcome)
    except asyncio.CancelledError:
        asked.cancel()
        raise
    except BaseException as error:
        asked.set_exception(error)
        asked.exception()  # where nobody shares it, nobody misses it
        raise
    finally:
        del asking.engine.asking[key]
    return outcome


async def _ask_once(asking: Asking, key: str, input_json: str, sends: Sends) -> Outcome:
    """Ask, or wait for whoever is asking the same now."""
    values = orjson.loads(input_json)
    try:
        outcome = await _share(asking, key, values) or await _ask_alone(asking, key, input_json, values, sends)
    except RunHalted:
        # A call that is in flight is paid for: the others of the batch are waited for and recorded.
        return _HALTED
    progress = asking.context.progress
    progress.done += outcome.state is not RowState.PENDING
    progress.quarantined += outcome.state is RowState.QUARANTINED
    return outcome
