"""The releases that offered a row: what was shown of it, who decided what, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.ledger.approvals import select_signed
from overnight.ledger.draws import SEED
from overnight.ledger.history import read_text
from overnight.ledger.queries import as_dict
from overnight.ledger.release_schema import (
    approvals,
    corrections,
    held_rows,
    interventions,
    outbox,
    release_rows,
    releases,
    sinks,
)
from overnight.ledger.review_schema import drawn_items, review_answers, verdicts
from overnight.ledger.reviews import ENDED
from overnight.ledger.sinks import ALL


def find_releases_of(connection: sa.Connection, key: str, row_id: str) -> list[dict[str, Any]]:
    """
    Each release that offered the row: who decided what, what became of the row, when it was delivered.

    Of one whose review is open nothing is told of what was read: it could tell a reader which items are seeds.
    """
    query = (
        sa.select(
            releases.c.release_id, releases.c.run_id, releases.c.sink, releases.c.offered_at, releases.c.digest,
            releases.c.held_of, release_rows.c.position, release_rows.c.payload, release_rows.c.warning,
        )
        .join(release_rows, release_rows.c.release_id == releases.c.release_id)
        .where(release_rows.c.row_id == row_id, release_rows.c.request_key == key)
        .order_by(releases.c.offered_at)
    )  # fmt: skip
    return [_release(connection, as_dict(row)) for row in connection.execute(query)]


def _release(connection: sa.Connection, found: dict[str, Any]) -> dict[str, Any]:
    release_id = found["release_id"]
    answers = (
        sa.select(review_answers).where(review_answers.c.release_id == release_id).order_by(review_answers.c.round)
    )
    given = [as_dict(answer) for answer in connection.execute(answers)]
    if not given or given[-1]["outcome"] not in ENDED:
        # What was read and decided before is told no more either: an approval that expired lists its items.
        return found | {"review": "open", "answers": [], "approval": None}
    found["offered"] = read_text(connection, found["payload"])
    found |= {"review": "ended", "answers": _list_answers(connection, found, given)}
    newest = sa.select(approvals).where(approvals.c.release_id == release_id).order_by(approvals.c.round.desc())
    approval = connection.execute(newest).first()
    found["approval"] = as_dict(approval) if approval else None
    if approval:
        # What its signature covers: who has the key can verify it.
        found["approval"]["signed"] = {str(n): v for n, v in select_signed(found["approval"]).items()}
        found |= _find_fate(connection, approval.approval_id, found["position"])
    return found | {"interventions": _list_interventions(connection, found), "hold": _find_hold(connection, found)}


def _list_answers(
    connection: sa.Connection, found: Mapping[str, Any], given: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    shown = _find_shown(connection, found["release_id"], found["position"])
    c = verdicts.c
    query = sa.select(c.round, c.item, c.reason, c.correction).where(c.release_id == found["release_id"])
    said = {(row.round, row.item): as_dict(row) for row in connection.execute(query)}
    return [_answer(answer, shown, said) for answer in given]


def _find_fate(connection: sa.Connection, approval_id: str, position: int) -> dict[str, Any]:
    """What the approval does with the row: corrected, held, delivered."""
    new = sa.select(corrections.c.payload, corrections.c.delivery_key)
    new = new.where(corrections.c.approval_id == approval_id, corrections.c.position == position)
    corrected = connection.execute(new).one_or_none()
    held = sa.select(held_rows.c.verdict)
    held = held.where(held_rows.c.approval_id == approval_id, held_rows.c.position == position)
    sent = sa.select(outbox).where(outbox.c.approval_id == approval_id, outbox.c.position == position)
    delivery = connection.execute(sent).one_or_none()
    return {
        "corrected": read_text(connection, corrected.payload) if corrected else None,
        "corrected_digest": corrected.payload if corrected else None,
        "held_as": connection.execute(held).scalar(),
        "delivery": as_dict(delivery) | {"delivered": read_text(connection, delivery.payload)} if delivery else None,
    }


def _list_interventions(connection: sa.Connection, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What people did to the release's deliveries; of its sink since it was offered: holds that came and went."""
    c = interventions.c
    of_sink = sa.and_(c.release_id.is_(None), c.sink.in_([found["sink"], ALL]), c.recorded_at >= found["offered_at"])
    query = sa.select(interventions).where(sa.or_(c.release_id == found["release_id"], of_sink))
    return [as_dict(row) for row in connection.execute(query.order_by(c.intervention_id))]


def _find_hold(connection: sa.Connection, found: Mapping[str, Any]) -> dict[str, Any] | None:
    c = sinks.c
    query = sa.select(c.sink, c.held_by, c.held_for, c.held_at)
    query = query.where(c.sink.in_([found["sink"], ALL]), c.held_by.is_not(None))
    row = connection.execute(query).first()
    return as_dict(row) if row else None


def _find_shown(connection: sa.Connection, release_id: str, position: int) -> dict[int, dict[str, Any]]:
    """As what the row was shown, by draw: a seed that was made of it is not it."""
    c = drawn_items.c
    query = sa.select(c.round, c.item, c.stratum, c.note)
    query = query.where(c.release_id == release_id, c.position == position, c.stratum != SEED)
    return {row.round: as_dict(row) for row in connection.execute(query)}


def _answer(
    answer: dict[str, Any],
    shown: Mapping[int, dict[str, Any]],
    said: Mapping[tuple[int, int], dict[str, Any]],
) -> dict[str, Any]:
    """An answer with what it says of the row: its verdicts on others are counted, not told."""
    given = orjson.loads(answer.pop("verdicts"))
    as_what = shown.get(answer["draw"] or 0)
    verdict = given.get(str(as_what["item"])) if as_what else None
    words = said.get((answer["round"], as_what["item"])) if as_what else None
    return answer | {
        "n_verdicts": len(given),
        "shown": as_what,
        "verdict": verdict,
        "verdict_reason": words["reason"] if words else None,
    }
