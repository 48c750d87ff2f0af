"""The quarantine of a run as a place to work: what stands there, why, what the model said, and what can be done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import OvernightError
from overnight.intake.quarantine import SetAside, list_set_aside
from overnight.ledger import Ledger
from overnight.ledger.manifests import find_latest_batches
from overnight.ledger.purged_runs import naming_purge
from overnight.ledger.queries import count_rows, get_run, list_runs
from overnight.ledger.retries import find_offered, list_retries
from overnight.ledger.runs import find_private
from overnight.masking import Veil
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Batch
from overnight.report.reviews import say_count
from overnight.report.text import show_value
from overnight.report.treatment import describe_treatment
from overnight.report.understood import find_answers

#: Runs that are searched for one with quarantined rows, newest first, and rows named beside a reason.
_N_RUNS, _EXAMPLES = 1000, 3


@dataclass(frozen=True)
class QuarantinedRow:
    """One row that stands quarantined, as it may be shown."""

    row_id: str
    step: int
    failure_class: str
    rule: str
    reason: str
    #: What the model answered, where an answer was understood.
    answer: Mapping[str, Any] | None
    #: By retry: what became of the row there.
    retried: Mapping[str, str]
    #: Whether a retry can do something about it.
    is_asked_again: bool


@dataclass(frozen=True)
class QuarantineGroup:
    """The rows that one class and rule set aside."""

    step: int
    failure_class: str
    rule: str
    n_rows: int
    #: Of the first row; the ids of a few; what the model answered to the first of which that is known.
    reason: str
    examples: tuple[str, ...]
    answer: Mapping[str, Any] | None
    #: What to do about it.
    what_to_do: str
    #: By retry: how many of these rows are in which state there.
    retried: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Quarantine:
    """The quarantine of one run."""

    run_id: str
    flow: str
    rows: tuple[QuarantinedRow, ...]
    groups: tuple[QuarantineGroup, ...]
    #: Rows that a retry would ask now.
    n_to_retry: int


def find_quarantine(
    run_id: str | None, *, ledger: Ledger, place: PartsPlace, reason: str | None = None, show_private: bool = False
) -> Quarantine:
    """
    What stands quarantined in a run, by class and rule, with what became of it since.

    Args:
        run_id: None: the newest run that has quarantined rows.
        ledger: Where runs are recorded.
        place: Where the parts are.
        reason: Only of this failure class or rule.
        show_private: Show what the prompt declares private.

    Raises:
        OvernightError: There is no such run, or no run with quarantined rows.
        PartRefused: A part is missing or altered.
    """
    with ledger.reading() as connection:
        run_id = run_id or _find_newest(connection)
        run = get_run(connection, run_id)
        with naming_purge(connection, run_id):
            found = [r for r in list_set_aside(find_latest_batches(connection, run_id), place) if r.has_reason(reason)]
        retried = _find_retried(connection, run_id, place)
        offered = find_offered(connection, run_id)
        answers = find_answers(connection, [row.request_key for row in found if row.request_key])
        private = {} if show_private else find_private(connection, run_id)
    rows = tuple(_show(row, answers, retried, private.get(row.step, ())) for row in found)
    left = {row.row_id for row in found if row.is_asked_again} - offered.keys()
    return Quarantine(run_id, run["flow"], rows, _group(rows), len(left))


def _find_newest(connection: sa.Connection) -> str:
    for run in list_runs(connection, _N_RUNS):
        if count_rows(connection, run["run_id"])["quarantined"]:
            return str(run["run_id"])
    raise OvernightError("No run has quarantined rows. `overnight runs` lists the runs.")


def _find_retried(connection: sa.Connection, run_id: str, place: PartsPlace) -> dict[str, dict[str, str]]:
    """By row and retry: where the row stands there."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for retry in list_retries(connection, run_id):
        # In the order of the steps: a row stands where it came to last.
        for _, batch in sorted(find_latest_batches(connection, retry.run_id).items()):
            with naming_purge(connection, retry.run_id):
                rows = read_part(batch.part, place).select(["row_id", "state"]).to_pylist()
            for row in rows:
                is_waiting = isinstance(batch, Batch) and row["state"] != "quarantined"
                found[row["row_id"]][retry.run_id] = "pending" if is_waiting else row["state"]
    return found


def _show(
    row: SetAside, answers: Mapping[str, Mapping[str, Any]], retried: Mapping[str, Mapping[str, str]], private: Any
) -> QuarantinedRow:
    answer = answers.get(row.request_key or "")
    veil = Veil(private, orjson.loads(row.input) if row.input else None, answer)
    return QuarantinedRow(
        row_id=row.row_id,
        step=row.step,
        failure_class=row.failure_class,
        rule=row.rule or "",
        reason=veil.hide_text(row.reason),
        answer=None if answer is None else veil.hide_output(answer),
        retried=retried.get(row.row_id, {}),
        is_asked_again=row.is_asked_again,
    )


def _group(rows: Iterable[QuarantinedRow]) -> tuple[QuarantineGroup, ...]:
    groups: dict[tuple[int, str, str], list[QuarantinedRow]] = defaultdict(list)
    for row in rows:
        groups[row.step, row.failure_class, row.rule].append(row)
    return tuple(
        QuarantineGroup(
            *key,
            n_rows=len(some),
            reason=some[0].reason,
            examples=tuple(row.row_id for row in some[:_EXAMPLES]),
            answer=next((row.answer for row in some if row.answer is not None), None),
            what_to_do=describe_treatment(key[1], key[2]),
            retried=_count(some),
        )
        for key, some in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def _count(rows: Iterable[QuarantinedRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        for run_id, state in row.retried.items():
            counts[run_id][state] = counts[run_id].get(state, 0) + 1
    return dict(counts)


def render_quarantine(found: Quarantine, *, by_row: bool = False) -> str:
    """The same as text to read from top to bottom."""
    lines = [f"run {found.run_id} of {found.flow}: {say_count(len(found.rows), 'row')} quarantined"]
    for group in found.groups:
        lines += ["", *_render_group(group)]
    if by_row:
        lines += ["", *(line for row in found.rows for line in _render_row(row))]
    lines.append("")
    if found.n_to_retry:
        n = say_count(found.n_to_retry, "row")
        lines.append(f"{n} to ask again, with the prompt as it is now: `overnight quarantine {found.run_id} --retry`")
    else:
        lines.append("No row is left to ask again.")
    return "\n".join(show_value(line) for line in lines)


def _render_group(group: QuarantineGroup) -> list[str]:
    rule = f", {group.rule}" if group.rule else ""
    step = f" (step {group.step})" if group.step > 1 else ""
    lines = [
        f"{group.n_rows:,} {group.failure_class}{rule}{step}",
        f"  {group.reason}",
        f"  for example {', '.join(group.examples)}",
    ]
    if group.answer is not None:
        lines.append(f"  answered: {orjson.dumps(group.answer).decode()}")
    for run_id, states in group.retried.items():
        lines.append(f"  retried in {run_id}: {describe_states(states)}")
    return [*lines, f"  to do: {group.what_to_do}"]


def _render_row(row: QuarantinedRow) -> list[str]:
    rule = f", {row.rule}" if row.rule else ""
    lines = [f"row {row.row_id}: {row.failure_class}{rule}", f"  {row.reason}"]
    if row.answer is not None:
        lines.append(f"  answered: {orjson.dumps(row.answer).decode()}")
    return lines + [f"  retried in {run_id}: {state}" for run_id, state in row.retried.items()]


def describe_states(states: Mapping[str, int]) -> str:
    """How many rows are in which state: "3 accepted, 1 quarantined"."""
    return ", ".join(f"{n:,} {state}" for state, n in sorted(states.items()))


def as_object(found: Quarantine, *, by_row: bool) -> dict[str, Any]:
    """The one object that `--json` prints."""
    whole = asdict(found)
    n_rows = len(whole.pop("rows")) if not by_row else len(found.rows)
    return whole | {"n_rows": n_rows}
