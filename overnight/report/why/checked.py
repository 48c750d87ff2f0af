"""What each check said of a row, out of what is recorded: no check is run again, and no code of the project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from overnight.records import Batch, CheckedBatch, CompletedBatch, RowState
from overnight.report.why.rules import judge_rules, read_rules
from overnight.taxonomy import FailureClass

#: What a row fails with where a row check refused its answer.
_OF_ROW_CHECKS = {FailureClass.CHECK_FAILED, FailureClass.HEDGE, FailureClass.ECHO, FailureClass.SAME_ANSWER}


def judge_again(
    row: Mapping[str, Any], batch: Batch | CompletedBatch | CheckedBatch | None, checks: str | None
) -> dict[str, Any]:
    """
    Each check by its name with its result for the row: "passed", "failed", "warned", "not reached" or "not known".

    Of rules that have one name each has its number too, from 1 in checks.json.

    Args:
        row: As its part has it.
        batch: The manifest of its batch, of the last stage that it reached; None: it is gone.
        checks: checks.json as the run pinned it; None: it is not recorded.
    """
    rules = orjson.loads(checks) if checks else {}
    is_checked = isinstance(batch, CheckedBatch)
    return {
        "is_recorded": checks is not None,
        "is_checked": is_checked,
        "row": list(_judge_row(row, rules.get("row", ()))),
        "batch": list(_judge_batch(row, batch, rules.get("batch", ()))),
        "batch_failures": list(batch.batch_failures) if isinstance(batch, CheckedBatch) else [],
        "docs": batch.docs if isinstance(batch, CheckedBatch) else None,
        "docs_host": batch.docs_host if isinstance(batch, CheckedBatch) else None,
    }


def _judge_row(row: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first rule that fails is the one that is recorded: those before it passed, those after it were not read."""
    did_pass = row["state"] == RowState.ACCEPTED or row["failure_class"] == FailureClass.BATCH_RULE
    labels = [f"{rule['rule']}({rule.get('name') or rule.get('field')})" for rule in rules]
    failed = row["rule"] if row["failure_class"] in _OF_ROW_CHECKS else None
    at = labels.index(failed) if failed in labels else None
    for number, label in enumerate(labels):
        if did_pass or (at is not None and number < at):
            yield {"check": label, "result": "passed", "reason": None}
        elif number == at:
            yield {"check": label, "result": "failed", "reason": row["reason"]}
        else:
            yield {"check": label, "result": "not reached", "reason": None}


def _judge_batch(
    row: Mapping[str, Any],
    batch: Batch | CompletedBatch | CheckedBatch | None,
    rules: Sequence[Mapping[str, Any]],
) -> Iterator[dict[str, Any]]:
    read = read_rules(rules)
    labels = [rule.label for rule in read]
    for rule, (result, reason) in zip(read, judge_rules(row, batch, read), strict=True):
        found = {"check": rule.label, "result": result, "reason": reason}
        yield found | ({"number": rule.number} if labels.count(rule.label) > 1 else {})
