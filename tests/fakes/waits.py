"""A run that waits for a person, as its ledger tells it."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.keys import digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.bodies import make_body, record_bodies
from overnight.ledger.draws import Draw, DrawnItem, record_draw
from overnight.ledger.releases import ReleaseRow, find_release, record_release
from overnight.ledger.reviews import ReviewAnswer, record_answer
from overnight.ledger.runs import open_pass, set_state
from overnight.records import Release, ReviewItem, ReviewPolicy, RunState

#: What a row says: it stands in no notice.
ROW_TEXT = "my card has not arrived"
FLOW_RUN = "11111111-2222-3333-4444-555555555555"


def record_wait(
    ledger: Ledger, run_id: str = "night-1", *, at: float, waits_d: float | None = 7.0, deployed: bool = True
) -> Release:
    """A release of one row, drawn at a moment, whose run waits since."""
    some = digest_bytes(b"some")
    body = make_body(ROW_TEXT.encode())
    policy = ReviewPolicy(0.95, 0.1, 1, 1, waits_d, 24.0)
    item = ReviewItem(1, "r1", {"text": ROW_TEXT}, {"intent": "card_arrival"})
    # Its id is its own, its digest nobody's.
    release = Release(f"of-{run_id}", run_id, some, "file:out.jsonl", "replace", "reversible", 1, 0, (item,), 1, policy)

    def record(connection: sa.Connection) -> None:
        open_pass(
            connection, run_id=run_id, flow="sort", parameters={}, flow_run_id=FLOW_RUN, deployed=deployed, now=at
        )
        set_state(connection, run_id, RunState.WAITING)
        rows = [ReleaseRow(0, "r1", some, body.digest, some)]
        made = {"prompt_hash": some, "model": "openai:gpt-fake", "checks_hash": some, "checks_digest": some}
        record_bodies(connection, [body])
        record_release(connection, release, rows, **made, held_of=None, now=at)
        record_draw(connection, release.release_id, Draw(0, release.items, {1: DrawnItem(1, "random", 0)}), at)

    ledger.write(record)
    return release


def record_outcome(ledger: Ledger, release: Release, outcome: str, *, at: float) -> Release:
    """An answer that decides nothing, whose words name a row; the release in its next round."""
    detail = f"item 1 (row r1): {ROW_TEXT}"
    answer = ReviewAnswer("file", "Ada", "release", "", {}, outcome, detail, draw=0)

    def record(connection: sa.Connection) -> Release | None:
        record_answer(connection, release.release_id, release.round, answer, at)
        return find_release(connection, release.run_id)

    found = ledger.write(record)
    assert found is not None
    return found
