"""The history of one row: its request with every attempt, and each release that offered it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import prompt_hash, request_key
from overnight.ledger.bodies import get_body
from overnight.ledger.draws import SEED
from overnight.ledger.queries import as_dict
from overnight.ledger.release_schema import approvals, corrections, held_rows, outbox, release_rows, releases
from overnight.ledger.review_schema import drawn_items, review_answers
from overnight.ledger.reviews import ENDED
from overnight.ledger.schema import attempts, completions, prompts, quarantines, requests


def find_request(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    """
    Everything that is known of a request: its prompt, its attempts in full, its answer.

    Raises:
        LedgerRefused: Its input, prompt or a body is not what was recorded.
    """
    query = sa.select(requests, prompts).join(prompts, prompts.c.prompt_hash == requests.c.prompt_hash)
    row = connection.execute(query.where(requests.c.request_key == key)).one_or_none()
    if row is None:
        return None
    found = as_dict(row)
    _verify(found)
    found["request"] = get_body(connection, found.pop("body")).decode(errors="replace")
    order = (attempts.c.opened_at, attempts.c.attempt_id)
    found["attempts"] = [
        _attempt(connection, a) | {"number": n} for n, a in enumerate(_all(connection, attempts, key, *order), 1)
    ]
    found["completion"] = next(iter(_all(connection, completions, key)), None)
    found["quarantine"] = next(iter(_all(connection, quarantines, key)), None)
    return found


def find_releases_of(connection: sa.Connection, key: str, row_id: str) -> list[dict[str, Any]]:
    """
    Each release that offered the row: who decided what, what became of the row, when it was delivered.

    Of one whose review is open nothing is told of what was read: it could tell a reader which items are seeds.
    """
    query = (
        sa.select(
            releases.c.release_id, releases.c.run_id, releases.c.sink, releases.c.offered_at, releases.c.digest,
            release_rows.c.position, release_rows.c.payload, release_rows.c.warning,
        )
        .join(release_rows, release_rows.c.release_id == releases.c.release_id)
        .where(release_rows.c.row_id == row_id, release_rows.c.request_key == key)
        .order_by(releases.c.offered_at)
    )  # fmt: skip
    return [_release(connection, as_dict(row)) for row in connection.execute(query)]


def _release(connection: sa.Connection, found: dict[str, Any]) -> dict[str, Any]:
    release_id, position = found["release_id"], found["position"]
    answers = (
        sa.select(review_answers).where(review_answers.c.release_id == release_id).order_by(review_answers.c.round)
    )
    given = [as_dict(answer) for answer in connection.execute(answers)]
    if not given or given[-1]["outcome"] not in ENDED:
        # What was read and decided before is told no more either: an approval that expired lists its items.
        return found | {"review": "open", "answers": [], "approval": None}
    shown = _find_shown(connection, release_id, position)
    found |= {"review": "ended", "answers": [_answer(answer, shown) for answer in given]}
    newest = sa.select(approvals).where(approvals.c.release_id == release_id).order_by(approvals.c.round.desc())
    approval = connection.execute(newest).first()
    found["approval"] = as_dict(approval) if approval else None
    if approval:
        new = sa.select(corrections.c.payload)
        new = new.where(corrections.c.approval_id == approval.approval_id, corrections.c.position == position)
        payload = connection.execute(new).scalar()
        found["corrected"] = get_body(connection, payload).decode(errors="replace") if payload else None
        held = sa.select(held_rows.c.verdict)
        held = held.where(held_rows.c.approval_id == approval.approval_id, held_rows.c.position == position)
        found["held_as"] = connection.execute(held).scalar()
        sent = sa.select(outbox).where(outbox.c.approval_id == approval.approval_id, outbox.c.position == position)
        delivery = connection.execute(sent).one_or_none()
        found["delivery"] = as_dict(delivery) if delivery else None
    return found


def _find_shown(connection: sa.Connection, release_id: str, position: int) -> dict[int, dict[str, Any]]:
    """As what the row was shown, by draw: a seed that was made of it is not it."""
    c = drawn_items.c
    query = sa.select(c.round, c.item, c.stratum, c.note)
    query = query.where(c.release_id == release_id, c.position == position, c.stratum != SEED)
    return {row.round: as_dict(row) for row in connection.execute(query)}


def _answer(answer: dict[str, Any], shown: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """An answer with what it says of the row: its verdicts on others are counted, not told."""
    verdicts = orjson.loads(answer.pop("verdicts"))
    as_what = shown.get(answer["draw"] or 0)
    verdict = verdicts.get(str(as_what["item"])) if as_what else None
    return answer | {"n_verdicts": len(verdicts), "shown": as_what, "verdict": verdict}


def _verify(request: Mapping[str, Any]) -> None:
    parts = ("text", "schema", "model", "endpoint")
    try:
        hashed = prompt_hash(**{n: request[n] for n in parts}, parameters=orjson.loads(request["parameters"]))
    except orjson.JSONDecodeError:
        hashed = ""
    if hashed != request["prompt_hash"]:
        raise _altered("prompt", request["request_key"])
    if request_key(request["input"], hashed) != request["request_key"]:
        raise _altered("input", request["request_key"])


def _altered(what: str, key: str) -> LedgerRefused:
    return LedgerRefused(f"The {what} of request {key[:12]} was altered in the ledger. Restore it from a backup.")


def _attempt(connection: sa.Connection, attempt: dict[str, Any]) -> dict[str, Any]:
    digest = attempt.pop("body")
    sent = attempt.pop("sent")
    return attempt | {
        "response": get_body(connection, digest).decode(errors="replace") if digest else None,
        "headers": orjson.loads(attempt["headers"] or "{}"),
        #: Where other bytes than the request's were sent.
        "sent": get_body(connection, sent).decode(errors="replace") if sent else None,
    }


def _all(connection: sa.Connection, table: sa.Table, key: str, *order: sa.Column[Any]) -> list[dict[str, Any]]:
    query = sa.select(table).where(table.c.request_key == key).order_by(*order)
    return [as_dict(row) for row in connection.execute(query)]
