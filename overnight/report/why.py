"""Why a row says what it says: from its input to its delivery, out of the ledger alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import OvernightError, PartRefused
from overnight.ledger import Ledger
from overnight.ledger.history import find_releases_of, find_request
from overnight.ledger.queries import list_runs
from overnight.ledger.runs import find_latest_batches
from overnight.parts import read_part
from overnight.records import Batch, CheckedBatch, CompletedBatch
from overnight.report.text import show_value

#: Runs that are searched for a row, newest first.
_N_RUNS = 1000


def explain_row(row_id: str, *, run_id: str | None, ledger: Ledger, home: Path) -> dict[str, Any]:
    """
    Everything recorded of a row: input, prompt, request, attempts, checks, review, delivery.

    Args:
        row_id: The row's id, or its request key.
        run_id: The run to look in; None: the newest that holds the row.
        ledger: Where to look.
        home: Where the parts are.

    Raises:
        OvernightError: No run holds the row.
    """
    with ledger.reading() as connection:
        if re.fullmatch(r"[0-9a-f]{64}", row_id) and (request := find_request(connection, row_id)):
            return {
                "row_id": None,
                "run_id": None,
                "input": orjson.loads(request["input"]),
                "request": request,
                "releases": [],
                "earlier": [],
            }
        steps = next(_find_rows(connection, row_id, run_id, home), None)
        if steps is None:
            where = f"run {run_id}" if run_id else "any run"
            raise OvernightError(
                f"Row {row_id!r} is not in {where}. `overnight runs` lists the runs; ids are as in the source."
            )
        *earlier, last = (_explain(connection, row, row_id) for row in steps)
    return last | {"earlier": earlier}


def _explain(connection: sa.Connection, found: dict[str, Any], row_id: str) -> dict[str, Any]:
    key = found["request_key"]
    return found | {
        "input": orjson.loads(found["input"]) if found["input"] else None,
        "output": orjson.loads(found["output"]) if found["output"] else None,
        "request": find_request(connection, key) if key else None,
        "releases": find_releases_of(connection, key, row_id) if key else [],
    }


def _find_rows(
    connection: sa.Connection, row_id: str, run_id: str | None, home: Path
) -> Iterator[list[dict[str, Any]]]:
    """For each run that holds the row, newest first: the row at each step that it reached."""
    runs = [run_id] if run_id else [run["run_id"] for run in list_runs(connection, _N_RUNS)]
    for run in runs:
        found: dict[int, dict[str, Any]] = {}
        for (step, _), batch in sorted(find_latest_batches(connection, run).items()):
            # A row stands in one batch of a step.
            if step not in found and (rows := _rows_named(batch, row_id, home)):
                found[step] = rows[0] | {"run_id": run, "step": step}
        if found:
            yield list(found.values())


def _rows_named(batch: Batch | CompletedBatch | CheckedBatch, row_id: str, home: Path) -> list[dict[str, Any]]:
    try:
        table = read_part(batch.part, home)
    except PartRefused:
        return []
    # Not by pyarrow's filters: they import pandas, a second that this command would wait for.
    found = [at for at, name in enumerate(table["row_id"].to_pylist()) if name == row_id]
    return [table.slice(at, 1).to_pylist()[0] for at in found]


def render_row(found: dict[str, Any]) -> str:
    """The same as text to read from top to bottom."""
    lines = [f"row {found['row_id'] or found['request']['request_key']}" + _in_run(found)]
    for earlier in found.get("earlier", ()):
        lines += [f"step {earlier['step']}", *("  " + line for line in _render_step(earlier)), ""]
    if found.get("earlier"):
        lines.append(f"step {found['step']}")
    return "\n".join(show_value(line) for line in lines + _render_step(found))


def _render_step(found: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    lines += _block("input", found["input"])
    if found.get("state"):
        lines += ["state", f"  {found['state']}" + (f": {found['reason']}" if found.get("reason") else "")]
    if found.get("failure_class"):
        lines.append(f"  class {found['failure_class']}" + (f", rule {found['rule']}" if found["rule"] else ""))
    elif found.get("state") == "accepted":
        lines.append("  every row check and every rule of its batch passed")
    if request := found["request"]:
        lines += _render_request(request)
    for release in found["releases"]:
        lines += _render_release(release)
    return lines


def _in_run(found: dict[str, Any]) -> str:
    return f" in run {found['run_id']}" if found["run_id"] else ""


def _render_request(request: dict[str, Any]) -> list[str]:
    lines = [
        "prompt",
        f"  {request['name']}, hash {request['prompt_hash']}",
        f"  sent to {request['model']} at {request['endpoint']}, parameters {request['parameters']}",
        *_block("prompt text", request["text"]),
        *_block("request", request["request"]),
    ]
    for attempt in request["attempts"]:
        lines += _render_attempt(attempt)
    if done := request["completion"]:
        numbers = {a["attempt_id"]: a["number"] for a in request["attempts"]}
        number = numbers.get(done["attempt_id"], "?")
        lines += [f"answer accepted {_at(done['accepted_at'])}, of attempt {number}", f"  {done['output']}"]
    elif refused := request["quarantine"]:
        rule = f", rule {refused['rule']}" if refused["rule"] else ""
        lines += [
            f"refused for good {_at(refused['recorded_at'])}: {refused['failure_class']}{rule}",
            f"  {refused['reason']}",
        ]
    return lines


def _render_attempt(a: dict[str, Any]) -> list[str]:
    cost = "price unknown" if a["cost_usd"] is None else f"{a['cost_usd']:.6f} USD"
    took = f", {a['latency_s']:.2f} s" if a["latency_s"] is not None else ""
    why = f" ({a['cause']})" if a["cause"] not in (None, "first") else ""
    lines = [f"attempt {a['number']}{why}: {a['outcome']}, {_at(a['opened_at'])}{took}"]
    if a["model"]:
        lines.append(f"  sent to {a['model']} at {a['endpoint']}")
    if a["sent"]:
        lines += _block("  request", a["sent"])
    if a["status"]:
        lines.append(f"  status {a['status']}, stop reason {a['stop_reason']}, model served {a['model_served']}")
        lines.append(f"  {a['input_tokens']} tokens in, {a['output_tokens']} out, {cost}")
    if a["failure_class"]:
        lines.append(f"  {a['failure_class']}: {a['message']}")
    if a["reasoning"]:
        lines += _block("  reasoning", a["reasoning"])
    return lines + (_block("  response", a["response"]) if a["response"] else [])


def _render_release(release: dict[str, Any]) -> list[str]:
    lines = [f"release {release['release_id']} to {release['sink']}, offered {_at(release['offered_at'])}"]
    if release["warning"]:
        lines.append(f"  a check warned: {release['warning']}")
    if release["review"] == "open":
        lines.append("  its review is open: what was read of it is told once it has ended")
    for answer in release["answers"]:
        lines += _render_answer(answer)
    if release.get("held_as"):
        lines.append(f"  held: {release['held_as']}")
    if release.get("corrected"):
        lines += _block("  left as corrected", release["corrected"])
    if sent := release.get("delivery"):
        when = f" {_at(sent['settled_at'])}" if sent["settled_at"] else ""
        lines.append(f"  {sent['state']}{when}: {sent['detail'] or 'not sent yet'}")
    return lines


def _render_answer(answer: dict[str, Any]) -> list[str]:
    how = {"code": ", known by a code", "declared": ", by name alone"}.get(answer["identified_by"] or "", "")
    who = f"{answer['outcome']} by {answer['reviewer'] or 'nobody'}{how} ({answer['channel']})"
    lines = [f"  round {answer['round']}: {who} {_at(answer['recorded_at'])}, {answer['n_verdicts']} items read"]
    if shown := answer["shown"]:
        why = f" ({shown['note']})" if shown["note"] else ""
        verdict = answer["verdict"] or "no verdict"
        said = verdict if isinstance(verdict, str) else orjson.dumps(verdict).decode()
        lines.append(f"    this row: item {shown['item']}, shown for {shown['stratum']}{why}: {said}")
    else:
        lines.append("    this row was not among those shown")
    return lines + [f"    because: {said}" for said in (answer["reason"], answer["detail"]) if said]


def _block(title: str, content: Any) -> list[str]:
    text = content if isinstance(content, str) else orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    indent = " " * (len(title) - len(title.lstrip()) + 2)
    return [title, *(indent + line for line in text.splitlines())]


def _at(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
