"""The outbox: promised by a consumed approval, sent by one worker at a time, and never twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import sqlalchemy as sa

from overnight.failures import DeliveryHeld, LedgerRefused
from overnight.keys import digest_bytes
from overnight.ledger.bodies import make_body, record_bodies
from overnight.ledger.leases import Worker
from overnight.ledger.outbox import consume, settle_by_hand
from overnight.ledger.promises import Promise, find_promises, find_receipts
from overnight.ledger.queries import summarize
from overnight.ledger.release_schema import release_rows
from overnight.ledger.releases import ReleaseRow, find_release_rows
from overnight.ledger.senders import claim, settle
from overnight.ledger.sinks import ALL, hold_sink, lift_hold, list_holds
from overnight.records import Approval
from tests.conftest import RUN, House

#: Past the number of variables that one statement of SQLite bears.
MANY = 34_000


def _approve(house: House, n_rows: int = 3, *, run: str = RUN) -> Approval:
    """An approval of rows r1, r2, …; those of two runs send the same bytes under the same keys."""
    return house.approve(house.offer(n_rows, run_id=run))


def _consume(house: House, approval: Approval, now: float | None = None) -> bool:
    with house.ledger.reading() as connection:
        rows = find_release_rows(connection, approval.release_id)
    return house.ledger.write(lambda c: consume(c, approval, rows, is_plain=False, now=now or time.time()))


def _claim(house: House, approval: Approval, worker: Worker, n_rows: int | None = None, **how: bool) -> list[str]:
    """The rows that are in hand now."""
    rules = {"is_safe": True, "is_whole": False} | how
    return [p.row_id for p in house.ledger.write(lambda c: claim(c, approval, worker, n_rows=n_rows, now=2.0, **rules))]


def _settle(house: House, approval: Approval, worker: Worker, *rows: str, state: str = "delivered") -> int:
    with house.ledger.reading() as connection:
        found = find_promises(connection, approval.approval_id, ["sending", "unknown"])
    outcomes = {p.position: (state, "") for p in found if p.row_id in rows}
    return house.ledger.write(lambda c: settle(c, approval.approval_id, worker, outcomes, 3.0))


def _states(house: House, approval: Approval) -> list[str]:
    with house.ledger.reading() as connection:
        return [receipt.state for receipt in find_receipts(connection, approval.approval_id)]


def _end(house: House, worker: Worker) -> None:
    """Its process has ended, and its lease with it."""
    house.ledger.write(
        lambda c: c.execute(sa.text("UPDATE leases SET until = 0 WHERE worker_id = :w"), {"w": worker.worker_id})
    )


@pytest.fixture
def work(house: House) -> Callable[[], Worker]:
    return lambda: house.ledger.register(60.0)


def test_an_approval_is_used_up_once(house: House) -> None:
    approval = _approve(house)
    assert _consume(house, approval)
    assert not _consume(house, approval)
    assert _states(house, approval) == ["promised"] * 3


def test_an_approval_that_has_expired_promises_nothing(house: House) -> None:
    approval = _approve(house)
    assert not _consume(house, approval, now=approval.expires_at.timestamp())
    assert _states(house, approval) == []


#: The machine's wall clock is set back by an hour; both databases have one that is not.
def _set_back(approval: Approval) -> float:
    return approval.expires_at.timestamp() - 3600.0


@pytest.mark.parametrize("left_s", [-1.0, 60.0], ids=["over", "not over"])
def test_a_clock_that_is_set_back_extends_no_approval(house: House, left_s: float) -> None:
    approval = _approve(house)
    house.tamper("UPDATE approvals SET issued_mark = issued_mark - (expires_at - issued_at) + :s", s=left_s)
    assert _consume(house, approval, now=_set_back(approval)) is (left_s > 0)


def test_a_clock_of_before_the_machine_was_started_anew_tells_nothing(house: House) -> None:
    approval = _approve(house)
    house.tamper("UPDATE approvals SET clock = 'before', issued_mark = -1e9")
    assert _consume(house, approval)


def test_an_approval_of_before_there_was_a_second_clock_lives_by_the_first(house: House) -> None:
    approval = _approve(house)
    house.tamper("UPDATE approvals SET clock = NULL, issued_mark = NULL")
    assert not _consume(house, approval, now=approval.expires_at.timestamp())
    assert _consume(house, approval, now=_set_back(approval))


def test_a_row_is_in_one_workers_hand(house: House, work: Callable[[], Worker]) -> None:
    approval, one, other = _approve(house), work(), work()
    _consume(house, approval)
    assert _claim(house, approval, one, 1) == ["r1"]
    assert _claim(house, approval, other) == ["r2", "r3"]
    assert _claim(house, approval, work()) == []


@pytest.mark.parametrize(("is_safe", "then"), [(True, ["r1", "r2"]), (False, ["r2"])])
def test_what_an_ended_worker_had_in_hand_is_sent_again_only_where_that_is_safe(
    house: House, work: Callable[[], Worker], is_safe: bool, then: list[str]
) -> None:
    approval, ended, next_one = _approve(house, 2), work(), work()
    _consume(house, approval)
    _claim(house, approval, ended, 1)
    _end(house, ended)
    assert _claim(house, approval, next_one, is_safe=is_safe) == then
    assert _states(house, approval) == ["sending" if is_safe else "unknown", "sending"]


def test_a_worker_that_was_taken_for_ended_still_says_what_it_knows(house: House, work: Callable[[], Worker]) -> None:
    approval, slow, next_one = _approve(house, 1), work(), work()
    _consume(house, approval)
    _claim(house, approval, slow)
    _end(house, slow)
    _claim(house, approval, next_one, is_safe=False)
    assert _settle(house, approval, slow, "r1") == 1
    assert _states(house, approval) == ["delivered"]


def test_a_worker_settles_nothing_that_another_has_taken_over(house: House, work: Callable[[], Worker]) -> None:
    approval, slow, next_one = _approve(house, 1), work(), work()
    _consume(house, approval)
    _claim(house, approval, slow)
    _end(house, slow)
    assert _claim(house, approval, next_one) == ["r1"]
    assert _settle(house, approval, slow, "r1", state="failed") == 0
    assert _states(house, approval) == ["sending"]


def test_a_row_that_is_approved_on_two_nights_leaves_once(house: House, work: Callable[[], Worker]) -> None:
    first, second, worker = _approve(house, 2), _approve(house, 3, run="night-2"), work()
    _consume(house, first)
    _consume(house, second)
    _claim(house, first, worker, 1)
    _settle(house, first, worker, "r1")
    assert _claim(house, second, worker) == ["r2", "r3"]
    assert _states(house, second) == ["earlier", "sending", "sending"]
    # The other way round the second is the earlier one.
    _settle(house, second, worker, "r2", "r3")
    assert _claim(house, first, worker) == []
    assert _states(house, first) == ["delivered", "earlier"]


@pytest.mark.parametrize("state", ["sending", "unknown"])
def test_what_another_approval_has_in_hand_is_left_until_its_fate_is_known(
    house: House, work: Callable[[], Worker], state: str
) -> None:
    first, second, worker, other = _approve(house, 1), _approve(house, 1, run="night-2"), work(), work()
    _consume(house, first)
    _consume(house, second)
    _claim(house, first, worker)
    if state == "unknown":
        _settle(house, first, worker, "r1", state="unknown")
    assert _claim(house, second, other) == []
    assert _states(house, second) == ["promised"]
    if state == "unknown":
        house.ledger.write(
            lambda c: settle_by_hand(c, first.approval_id, [0], state="promised", detail="not there", now=3.0)
        )
        assert _claim(house, second, other, 1) == ["r1"]


def test_a_sink_that_holds_one_release_is_written_by_one_at_a_time(house: House, work: Callable[[], Worker]) -> None:
    first, second, worker, other = _approve(house, 1), _approve(house, 2, run="night-2"), work(), work()
    _consume(house, first)
    _consume(house, second)
    assert _claim(house, first, worker, is_whole=True) == ["r1"]
    assert _claim(house, second, other, is_whole=True) == []
    _settle(house, first, worker, "r1")
    assert _claim(house, second, other, is_whole=True) == ["r1", "r2"]


@pytest.mark.parametrize("held", ["the sink", ALL])
def test_a_hold_stops_what_has_not_been_taken_in_hand(house: House, work: Callable[[], Worker], held: str) -> None:
    approval, unused, worker = _approve(house, 2), _approve(house, 3, run="night-2"), work()
    _consume(house, approval)
    _claim(house, approval, worker, 1)
    name = approval.sink if held == "the sink" else ALL
    house.ledger.write(lambda c: hold_sink(c, name, by="Ada", reason="wrong tone", now=5.0))
    with pytest.raises(DeliveryHeld, match=r"on hold by Ada since .* \(wrong tone\): nothing more leaves"):
        _claim(house, approval, worker)
    with pytest.raises(DeliveryHeld):
        _consume(house, unused)
    assert _settle(house, approval, worker, "r1") == 1
    with house.ledger.reading() as connection:
        assert [hold["sink"] for hold in list_holds(connection)] == [name]
    assert house.ledger.write(lambda c: lift_hold(c, name, by="Ada", reason="mended", now=6.0))
    assert _claim(house, approval, worker) == ["r2"]
    assert _consume(house, unused)
    assert house.fetch("SELECT kind, reason FROM interventions ORDER BY intervention_id") == [
        ("hold", "wrong tone"),
        ("lift", "mended"),
    ]


def test_what_failed_or_is_unknown_is_not_published(house: House, work: Callable[[], Worker]) -> None:
    approval, worker = _approve(house, 3), work()
    _consume(house, approval)
    _claim(house, approval, worker)
    for row, state in {"r1": "delivered", "r2": "failed", "r3": "unknown"}.items():
        _settle(house, approval, worker, row, state=state)
    with house.ledger.reading() as connection:
        assert summarize(connection, RUN, 9.0).published == 1


def _add_rows(house: House, release_id: str, n_rows: int) -> None:
    """Rows of a release that all send the same bytes, under a key of their own each."""
    body = make_body(b"{}")
    house.ledger.write(lambda c: record_bodies(c, [body]))
    keys = [digest_bytes(b"%d" % n) for n in range(n_rows)]
    rows = [ReleaseRow(at, f"r{at + 1}", key, body.digest, key, None) for at, key in enumerate(keys, 1)]
    values: list[dict[str, Any]] = [asdict(r) | {"release_id": release_id} for r in rows]
    house.ledger.write(lambda c: c.execute(sa.insert(release_rows), values))


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_release_of_more_rows_than_a_statement_has_variables_is_promised_and_taken_whole(
    house: House, work: Callable[[], Worker]
) -> None:
    approval, worker = _approve(house, 1), work()
    _add_rows(house, approval.release_id, MANY)
    assert _consume(house, approval)
    assert len(_claim(house, approval, worker)) == MANY + 1
    assert house.fetch("SELECT state, count(*) FROM outbox GROUP BY state") == [("sending", MANY + 1)]


def _promise(house: House, approval: Approval) -> Promise:
    with house.ledger.reading() as connection:
        return find_promises(connection, approval.approval_id, ["promised"])[0]


_SLIPPED = """
    INSERT INTO outbox (approval_id, position, delivery_key, row_id, payload, state, n_sends, promised_at)
    SELECT a.approval_id, r.position, r.delivery_key, r.row_id, r.payload, 'promised', 0, 1.0
    FROM approvals a JOIN release_rows r ON r.release_id = a.release_id
"""


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (f"{_SLIPPED} WHERE a.state = 'approved'", "without a consumed approval"),
        (f"{_SLIPPED} WHERE a.state = 'consumed' AND r.row_id = 'r2'", "without a consumed approval"),
        ("UPDATE outbox SET row_id = 'r9'", "what was promised is not changed"),
        ("UPDATE outbox SET state = 'promised' WHERE state = 'delivered'", "what was delivered can be recalled"),
        ("UPDATE approvals SET state = 'approved'", "used up once, and not changed otherwise"),
        ("UPDATE approvals SET expires_at = expires_at + 1", "used up once, and not changed otherwise"),
        ("UPDATE release_rows SET row_id = 'r9'", "rows of a release are not changed"),
        ("UPDATE held_rows SET verdict = 'correct'", "a held row stays held"),
        ("DELETE FROM held_rows", "nothing is deleted from held_rows"),
        ("DELETE FROM outbox", "nothing is deleted from outbox"),
        ("UPDATE releases SET sink = 'file:/elsewhere.jsonl'", "a release is not changed"),
    ],
)
def test_the_database_itself_refuses(house: House, work: Callable[[], Worker], statement: str, said: str) -> None:
    used, worker = house.approve(house.offer(3), r2="wrong"), work()
    _approve(house, 4, run="night-2")
    with house.ledger.reading() as connection:
        rows = [r for r in find_release_rows(connection, used.release_id) if r.row_id != "r2"]
    house.ledger.write(lambda c: consume(c, used, rows, is_plain=False, now=time.time()))
    _claim(house, used, worker, 1)
    _settle(house, used, worker, "r1")
    with pytest.raises(LedgerRefused, match=said) as caught:
        house.ledger.write(lambda c: c.execute(sa.text(statement)))
    assert "\n" not in str(caught.value)


def test_without_its_triggers_the_ledger_lets_nothing_out(house: House) -> None:
    approval = _approve(house)
    on = " ON outbox" if house.ledger.url.startswith("postgresql") else ""
    house.ledger.write(lambda c: c.execute(sa.text(f"DROP TRIGGER overnight_outbox_needs_approval{on}")))
    with pytest.raises(LedgerRefused, match="overnight_outbox_needs_approval is missing or altered, so nothing leaves"):
        _consume(house, approval)
    assert _states(house, approval) == []
