"""Everything that is recorded of a row, gathered; what the project holds now stands beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import ApprovalRefused, OvernightError
from overnight.ledger import Ledger
from overnight.ledger.history import find_request
from overnight.ledger.offers import find_releases_of
from overnight.ledger.purged_runs import find_purge
from overnight.ledger.queries import find_run
from overnight.ledger.runs import find_private
from overnight.ledger.shadows import KIND, find_private_beside
from overnight.ledger.steps import find_pinned, list_changes, list_runs_of
from overnight.place import PartsPlace
from overnight.records import CheckedBatch
from overnight.report.why.checked import judge_again
from overnight.report.why.find import Found, Manifest, Search
from overnight.report.why.hide import hide_private
from overnight.report.why.since import compare_prompt
from overnight.report.why.start import Start, read_start
from overnight.signature import is_signed


@dataclass(frozen=True)
class Surroundings:
    """What stands beside the ledger: the parts, the project's prompts as they are now, the key of approvals."""

    place: PartsPlace
    prompts: Path = Path("prompts")
    #: None: signatures are not verified.
    approval_key: Path | None = None


def explain_row(
    row: str | Start,
    *,
    run_id: str | None,
    ledger: Ledger,
    place: PartsPlace,
    step: int | None = None,
    now: float | None = None,
    prompts: Path = Path("prompts"),
    approval_key: Path | None = None,
    shows_private: bool = False,
) -> dict[str, Any]:
    """
    Everything recorded of a row: input, prompt, request, attempts, checks, review, delivery.

    Args:
        row: A row's id, a request key or its first eight digits, a delivery key, `FILE:LINE`, or a line as it was read.
        run_id: The run to look in; None: the newest that holds the row.
        ledger: Where to look.
        place: Where the parts are.
        step: The step of a chain to begin with; None: that of the key, or the last that the row reached.
        now: What ages are told by; None: the clock.
        prompts: The project's prompts as they are now.
        approval_key: What approvals were signed with; None: their signatures are not verified.
        shows_private: Show values that the prompts declare private.

    Raises:
        OvernightError: No run holds the row.
    """
    start = row if isinstance(row, Start) else read_start(row)
    beside = Surroundings(place, prompts, approval_key)
    with ledger.reading() as connection:
        found = Search(connection, place, run_id).find(start)
        told = _tell(connection, found, step, beside) if found else None
        if told is None:
            raise _refuse(start, run_id, step, found)
        private = _find_private_beside(connection, told)
    told |= {"now": time.time() if now is None else now, "is_private_shown": shows_private}
    return told if shows_private else hide_private(told, private)


def _tell(connection: sa.Connection, found: Found, step: int | None, beside: Surroundings) -> dict[str, Any] | None:
    if not found.rows:
        return _tell_request(connection, found.request_key or "")
    at = _find_first(found, step)
    if at is None:
        return None
    explained = [_explain(connection, row, beside) for row in found.rows]
    return explained[at] | {"earlier": explained[:at], "later": explained[at + 1 :]}


def _find_private_beside(connection: sa.Connection, told: dict[str, Any]) -> frozenset[str]:
    """What is private for the run that a shadow is of; of a request without a run, for all whose shadows asked so."""
    if told["run_id"] is None:
        return find_private_beside(connection, told["request"]["prompt_hash"])
    if not told["run"] or told["run"]["kind"] != KIND:
        return frozenset()
    return frozenset(name for names in find_private(connection, told["run_id"]).values() for name in names)


def _find_first(found: Found, step: int | None) -> int | None:
    """The position of the step that is told first."""
    if step is not None:
        return next((at for at, row in enumerate(found.rows) if row["step"] == step), None)
    asked = (at for at, row in enumerate(found.rows) if found.request_key and row["request_key"] == found.request_key)
    return next(asked, len(found.rows) - 1)


def _tell_request(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    """A request that no run's parts hold: of it alone."""
    request = find_request(connection, key)
    if request is None:
        return None
    return {
        "row_id": None,
        "run_id": None,
        "request_key": key,
        "input": orjson.loads(request["input"]) if request["input"] else None,
        "request": request,
        "prompt": {"name": request["name"], "files": {"prompt.md": request["text"]}},
        "releases": [],
        "earlier": [],
        "later": [],
    }


def _explain(connection: sa.Connection, row: dict[str, Any], beside: Surroundings) -> dict[str, Any]:
    batch, key = row.pop("batch"), row["request_key"]
    request = find_request(connection, key) if key else None
    given = row["input"] or (request or {}).get("input")
    output = row["output"] or ((request or {}).get("completion") or {}).get("output")
    pinned = find_pinned(connection, row["run_id"], row["step"])
    if pinned is None and request:
        pinned = {
            "name": request["name"],
            "files": {"prompt.md": request["text"], "output.schema.json": request["schema"]},
        }
    return row | {
        "input": orjson.loads(given) if given else None,
        "output": orjson.loads(output) if output else None,
        "run": find_run(connection, row["run_id"]),
        "runs": list_runs_of(connection, row["row_id"], key) if key else [],
        "request": request,
        "prompt": pinned and pinned | {"since": compare_prompt(pinned["name"], pinned["files"], beside.prompts)},
        "checks": judge_again(
            row,
            _leave_out_stripped(connection, row["run_id"], batch),
            (pinned or {"files": {}})["files"].get("checks.json"),
        ),
        "changes": list_changes(connection, row["run_id"], row["step"]),
        "releases": [_verify(r, beside) for r in find_releases_of(connection, key, row["row_id"])] if key else [],
    }


def _leave_out_stripped(connection: sa.Connection, run_id: str, batch: Manifest | None) -> Manifest | None:
    """The manifest of a batch; None where a purge has dropped what its rules said: another run keeps the part."""
    # What was judged has Data Docs, until a purge drops them too.
    is_suspect = isinstance(batch, CheckedBatch) and batch.docs is None
    return None if is_suspect and find_purge(connection, run_id) else batch


def _verify(release: dict[str, Any], beside: Surroundings) -> dict[str, Any]:
    """The release with what its approval's signature is worth: "verified", "altered", or why nobody can tell."""
    if approval := release["approval"]:
        approval["signature_is"] = _judge(approval.pop("signed"), approval["signature"], beside.approval_key)
        approval["findings"] = _leave_out_items(approval["findings"])
    return release


def _leave_out_items(findings: str | None) -> str | None:
    """Without what was said of each item: they are other rows, whose values are nobody's business here."""
    if findings is None:
        return None
    found = orjson.loads(findings)
    found["rounds"] = [{n: v for n, v in one.items() if n != "items"} for one in found.get("rounds", ())]
    return orjson.dumps(found).decode()


def _judge(signed: dict[str, Any], signature: str | None, key: Path | None) -> str:
    if key is None:
        return "not verified"
    try:
        return "verified" if is_signed(signed, signature, key) else "altered"
    except ApprovalRefused as error:
        return f"not verified: {error}"


def _refuse(start: Start, run_id: str | None, step: int | None, found: Found | None) -> OvernightError:
    name = start.row_id if start.row_id is not None else start.request_key
    where = f"run {run_id}" if run_id else "any run"
    if found and found.rows:
        steps = ", ".join(str(row["step"]) for row in found.rows)
        return OvernightError(f"Row {name!r} did not come to step {step} of run {found.run_id}. It has step {steps}.")
    return OvernightError(
        f"Row {name!r} is not in {where}. Give its id as in the source, a request or delivery key, or a line of an"
        " output file; `overnight runs` lists the runs."
    )
