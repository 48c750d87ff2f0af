"""A completed part with the verdict on its batch → the checked part, in which no row is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa

from overnight.checks.parse import Checks
from overnight.failures import OvernightError, PartRefused
from overnight.parts import write_part
from overnight.place import PartsPlace
from overnight.records import BatchVerdict, CheckedBatch, CompletedBatch, RowFailure, RowState
from overnight.taxonomy import FailureClass

#: Rows that a line names.
_N_NAMED = 3


class Validator(Protocol):
    """Whoever judges the rows of a batch: `BatchValidator`, or a fake."""

    def validate(self, rows: list[dict[str, Any]], *, checks: Checks, suite_name: str, docs_dir: Path) -> BatchVerdict:
        """The verdict of the batch rules on the rows."""


def check_batch(
    completed: CompletedBatch,
    table: pa.Table,
    checks: Checks,
    checks_hash: str,
    validator: Validator,
    *,
    suite_name: str,
    docs_dir: Path,
    place: PartsPlace,
    home: Path,
    host: str | None = None,
) -> CheckedBatch:
    """
    Judge the accepted rows of a batch and set those that fail aside, with rule and reasons; they keep their output.

    Rows that were set aside because one answer came for too many inputs hold the batch, as a rule of its own does.

    `table` is the batch's part, (n, 10) in the shape of `parts.PART_SCHEMA`. Parts are in `place`, Data Docs in `home`,
    which is that of `host` where machines share the parts alone.

    Raises:
        SuiteRefused: The rules do not fit the rows.
        PartRefused: The table is not the batch's.
    """
    rows = table.to_pylist()
    _refuse_other_counts(completed, _count_states(rows))
    verdict = validator.validate(_list_accepted(rows), checks=checks, suite_name=suite_name, docs_dir=docs_dir)
    checked = _set_aside(_warn(rows, verdict.row_warnings), verdict.row_failures)
    states = _count_states(checked)
    _refuse_lost_rows(completed, verdict, states)
    return CheckedBatch(
        n=completed.n,
        part=write_part(checked, place),
        prompt_hash=completed.prompt_hash,
        checks_hash=checks_hash,
        n_accepted=states[RowState.ACCEPTED],
        n_quarantined=states[RowState.QUARANTINED],
        n_pending=states[RowState.PENDING],
        batch_failures=(*verdict.batch_failures, *_tell_same_answers(rows)),
        warnings=verdict.warnings,
        docs=_relate(verdict.docs, home),
        step=completed.step,
        docs_host=host if verdict.docs else None,
    )


def assume_passed(completed: CompletedBatch, checks_hash: str) -> CheckedBatch:
    """What a plan goes on with where a batch was not checked yet; it is recorded nowhere, and no gate takes it."""
    return CheckedBatch(
        n=completed.n,
        part=completed.part,
        prompt_hash=completed.prompt_hash,
        checks_hash=checks_hash,
        n_accepted=completed.n_accepted,
        n_quarantined=completed.n_quarantined,
        n_pending=completed.n_pending,
        step=completed.step,
    )


def _tell_same_answers(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line a rule."""
    by_rule: dict[str, list[str]] = {}
    for row in rows:
        if row["failure_class"] == FailureClass.SAME_ANSWER:
            by_rule.setdefault(row["rule"] or "distinct", []).append(row["row_id"])
    for rule, row_ids in by_rule.items():
        # As JSON: an id is whatever stood in the source.
        named = ", ".join(json.dumps(row_id[:40]) for row_id in row_ids[:_N_NAMED])
        yield f"{rule}: {len(row_ids)} rows have an answer that too many other inputs got, such as rows {named}"


def _list_accepted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "row_number": row["row_number"],
            "row_id": row["row_id"],
            "input": orjson.loads(row["input"]),
            "output": orjson.loads(row["output"]),
        }
        for row in rows
        if row["state"] == RowState.ACCEPTED
    ]


def _set_aside(rows: list[dict[str, Any]], failures: Iterable[RowFailure]) -> list[dict[str, Any]]:
    by_row = _group(failures)
    return [_quarantine(row, by_row.get(row["row_number"])) for row in rows]


def _warn(rows: list[dict[str, Any]], warnings: Iterable[RowFailure]) -> list[dict[str, Any]]:
    """Accepted rows stay so, and say what a reviewer should look at."""
    by_row = _group(warnings)
    return [
        row | {"rule": found[0].rule, "reason": "; ".join(w.reason for w in found)}
        if (found := by_row.get(row["row_number"])) and row["state"] == RowState.ACCEPTED
        else row
        for row in rows
    ]


def _group(found: Iterable[RowFailure]) -> dict[int, list[RowFailure]]:
    by_row: dict[int, list[RowFailure]] = {}
    for one in found:
        by_row.setdefault(one.row_number, []).append(one)
    return by_row


def _quarantine(row: dict[str, Any], failures: list[RowFailure] | None) -> dict[str, Any]:
    if not failures or row["state"] != RowState.ACCEPTED:
        return row
    return {
        **row,
        "state": RowState.QUARANTINED.value,
        "failure_class": FailureClass.BATCH_RULE.value,
        "rule": failures[0].rule,
        "reason": "; ".join(f.reason for f in failures),
    }


def _count_states(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(row["state"] for row in rows)


def _refuse_other_counts(completed: CompletedBatch, states: Counter[str]) -> None:
    found = (states[RowState.ACCEPTED], states[RowState.QUARANTINED], states[RowState.PENDING])
    recorded = (completed.n_accepted, completed.n_quarantined, completed.n_pending)
    if found != recorded or states.total() != sum(recorded):
        raise PartRefused(
            f"Part {completed.part.path} of batch {completed.n} holds {found} rows accepted, quarantined and pending, "
            f"but {recorded} were recorded. Run the flow again to make it anew."
        )


def _refuse_lost_rows(completed: CompletedBatch, verdict: BatchVerdict, states: Counter[str]) -> None:
    n_failed = len({f.row_number for f in verdict.row_failures})
    passed, quarantined = completed.n_accepted - n_failed, completed.n_quarantined + n_failed
    if (states[RowState.ACCEPTED], states[RowState.QUARANTINED]) != (passed, quarantined):
        raise OvernightError(
            f"Batch {completed.n} does not balance: {n_failed} rows failed its rules, but "
            f"{completed.n_accepted - states[RowState.ACCEPTED]} were quarantined. Nothing was written; report this."
        )


def _relate(docs: str | None, home: Path) -> str | None:
    if docs is None:
        return None
    path, root = Path(docs), home.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else docs
