from __future__ import annotations

import pytest

from overnight.keys import digest_bytes
from overnight.ledger.bodies import make_body, record_bodies
from overnight.ledger.outbox import consume, find_receipts, settle
from overnight.ledger.queries import summarize
from overnight.ledger.releases import ReleaseRow
from overnight.records import Approval
from tests.conftest import RUN, House

#: Past the number of variables that one statement of SQLite bears.
MANY = 34_000


def _rows(house: House, n_rows: int) -> list[ReleaseRow]:
    """Rows r1, r2, … that all send the same bytes, under a key of their own each."""
    body = make_body(b"{}")
    house.ledger.write(lambda c: record_bodies(c, [body]))
    keys = [digest_bytes(b"%d" % n) for n in range(n_rows)]
    return [ReleaseRow(at, f"r{at + 1}", key, body.digest, key, None) for at, key in enumerate(keys)]


def _approve(house: House, n: int) -> Approval:
    """An approval of release n of the run."""
    return house.approve(house.offer(n, now=float(n)))


def _consume(house: House, approval: Approval, rows: list[ReleaseRow], now: float = 1.0) -> bool:
    return house.ledger.write(lambda c: consume(c, approval.approval_id, rows, now))


def _settle(house: House, approval: Approval, position: int, state: str) -> None:
    house.ledger.write(lambda c: settle(c, approval.approval_id, [position], state=state, detail="", now=2.0))


def _states(house: House, approval: Approval) -> list[str]:
    with house.ledger.reading() as connection:
        return [receipt.state for receipt in find_receipts(connection, approval.approval_id)]


def _n_published(house: House) -> int:
    with house.ledger.reading() as connection:
        return summarize(connection, RUN, 9.0).published


def test_an_approval_is_used_up_once(house: House) -> None:
    approval, rows = _approve(house, 1), _rows(house, 2)
    assert _consume(house, approval, rows)
    assert not _consume(house, approval, rows)
    assert _states(house, approval) == ["promised", "promised"]


def test_an_approval_that_has_expired_promises_nothing(house: House) -> None:
    approval, rows = _approve(house, 1), _rows(house, 2)
    assert not _consume(house, approval, rows, now=approval.expires_at.timestamp())
    assert _states(house, approval) == []


#: The machine's wall clock is set back by an hour; both databases have one that is not.
def _set_back(approval: Approval) -> float:
    return approval.expires_at.timestamp() - 3600.0


@pytest.mark.parametrize("left_s", [-1.0, 60.0], ids=["over", "not over"])
def test_a_clock_that_is_set_back_extends_no_approval(house: House, left_s: float) -> None:
    approval, rows = _approve(house, 1), _rows(house, 2)
    house.tamper("UPDATE approvals SET issued_mark = issued_mark - (expires_at - issued_at) + :s", s=left_s)
    assert _consume(house, approval, rows, now=_set_back(approval)) is (left_s > 0)


def test_a_clock_of_before_the_machine_was_started_anew_tells_nothing(house: House) -> None:
    approval, rows = _approve(house, 1), _rows(house, 2)
    house.tamper("UPDATE approvals SET clock = 'before', issued_mark = -1e9")
    assert _consume(house, approval, rows)


def test_an_approval_of_before_there_was_a_second_clock_lives_by_the_first(house: House) -> None:
    approval, rows = _approve(house, 1), _rows(house, 2)
    house.tamper("UPDATE approvals SET clock = NULL, issued_mark = NULL")
    assert not _consume(house, approval, rows, now=approval.expires_at.timestamp())
    assert _consume(house, approval, rows, now=_set_back(approval))


def test_only_what_was_delivered_counts_as_gone(house: House) -> None:
    first, second, rows = _approve(house, 1), _approve(house, 2), _rows(house, 4)
    _consume(house, first, rows[:3])
    _settle(house, first, 0, "delivered")
    _settle(house, first, 1, "failed")
    assert _consume(house, second, rows)
    assert _states(house, first) == ["delivered", "failed", "superseded"]
    assert _states(house, second) == ["earlier", "promised", "promised", "promised"]


def test_a_row_that_is_earlier_in_one_approval_is_earlier_in_the_next(house: House) -> None:
    approvals, rows = [_approve(house, n) for n in (1, 2, 3)], _rows(house, 1)
    for approval in approvals:
        _consume(house, approval, rows)
        if approval is approvals[0]:
            _settle(house, approval, 0, "delivered")
    assert [_states(house, approval) for approval in approvals] == [["delivered"], ["earlier"], ["earlier"]]


def test_what_is_superseded_promised_or_failed_is_not_published(house: House) -> None:
    first, second, rows = _approve(house, 1), _approve(house, 2), _rows(house, 3)
    _consume(house, first, rows)
    assert _n_published(house) == 0
    _settle(house, first, 0, "delivered")
    _settle(house, first, 1, "failed")
    assert _n_published(house) == 1
    _consume(house, second, rows[2:])
    assert _states(house, first) == ["delivered", "failed", "superseded"]
    assert _n_published(house) == 1


@pytest.mark.parametrize("database", ["sqlite"])
def test_a_release_of_more_rows_than_a_statement_has_variables_is_promised_whole(house: House) -> None:
    first, second, rows = _approve(house, 1), _approve(house, 2), _rows(house, MANY)
    assert _consume(house, first, rows)
    house.ledger.write(lambda c: settle(c, first.approval_id, range(MANY // 2), state="delivered", detail="", now=2.0))
    assert _consume(house, second, rows)
    assert house.fetch("SELECT state, count(*) FROM outbox GROUP BY state ORDER BY state") == [
        ("delivered", MANY // 2),
        ("earlier", MANY // 2),
        ("promised", MANY // 2),
        ("superseded", MANY // 2),
    ]
