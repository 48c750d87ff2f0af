"""What the ledger has of a batch's requests, judged by today's row checks: a new rule costs no call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import sqlalchemy as sa

from overnight.checks import BatchMemory, Checks
from overnight.complete.asking import Outcome
from overnight.complete.judge import judge_recorded, recall_refusal
from overnight.ledger.completions import Completion, Refusal, find_completions, find_refusals
from overnight.ledger.retries import Retry, find_liftable
from overnight.records import RowState
from overnight.taxonomy import FailureClass


@dataclass(frozen=True)
class Recalled:
    """What is known, by request key."""

    outcomes: dict[str, Outcome]
    #: Answers that a rule refused once and none refuses now: they become completions.
    freed: dict[str, Completion]
    #: Refusals that a retry does not go by: their requests are asked anew.
    lifted: frozenset[str] = frozenset()


def recall(
    asked: Mapping[str, str],
    checks: Checks,
    memory: BatchMemory | None,
    connection: sa.Connection,
    *,
    retry: Retry | None = None,
) -> Recalled:
    """
    The outcomes that are known already.

    Args:
        asked: Each request's input as canonical JSON, by key.
        checks: Today's.
        memory: The batch's, where a check compares answers with one another.
        connection: To the ledger.
        retry: The run, where it asks rows again that were refused before it began.
    """
    found = find_completions(connection, list(asked))
    refused = find_refusals(connection, [key for key in asked if key not in found])
    freed = {key: c for key, r in refused.items() if (c := _free(r, asked[key], checks))}
    answered = found | freed
    outcomes = {key: _judge(checks, memory, asked[key], c) for key, c in answered.items()}
    left = [key for key in refused if key not in freed]
    lifted = find_liftable(connection, left, retry) if retry else set[str]()
    outcomes |= {key: recall_refusal(refused[key]) for key in left if key not in lifted}
    return Recalled(outcomes, freed, frozenset(lifted))


def _judge(checks: Checks, memory: BatchMemory | None, input_json: str, completion: Completion) -> Outcome:
    # Most of the time of a run that asks nothing goes into reading what no rule looks at.
    return judge_recorded(checks, memory, orjson.loads(input_json) if checks.row else {}, completion)


def _free(refusal: Refusal, input_json: str, checks: Checks) -> Completion | None:
    """The refused answer as a completion, where no row check minds it any more."""
    # One answer for too many: alone, any of them would pass.
    if not refusal.output or (refusal.failure_class == FailureClass.SAME_ANSWER and checks.compares_rows):
        return None
    completion = Completion(refusal.attempt_id, refusal.output, refusal.model)
    outcome = judge_recorded(checks, None, orjson.loads(input_json), completion)
    return completion if outcome.state is RowState.ACCEPTED else None
