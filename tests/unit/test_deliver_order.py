"""What an interrupted delivery leaves behind does not come out of order, twice, or unsigned, and can be recalled."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.approve import find_held
from overnight.deliver import deliver_release, recall_release
from overnight.failures import ApprovalRefused, LedgerRefused, RunHalted
from overnight.ledger.bodies import make_body, record_bodies
from overnight.ledger.columns import to_bytes
from overnight.ledger.promises import find_receipts
from overnight.ledger.sinks import hold_sink
from overnight.records import Approval, Receipt, Release
from overnight.sinks import Consignment, DeliveryDeferred, Outcome
from overnight.sinks.sql import SqlSink
from tests.conftest import House
from tests.fakes.smtp import FakeSmtp, Mail

Read = Callable[[], list[tuple[Any, ...]]]
_TABLE = "CREATE TABLE t (row_id TEXT PRIMARY KEY, label, quote, request_key, prompt_hash, model)"


@pytest.fixture
def table(tmp_path: Path) -> tuple[str, Read]:
    """A table as a sink, and what it holds."""
    path = tmp_path / "crm.sqlite"

    def execute(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement).fetchall()

    execute(_TABLE)
    return f"sqlite:///{path}?table=t", lambda: execute("SELECT row_id, quote FROM t ORDER BY row_id")


def _offer(house: House, texts: list[str], sink: str, run: str, held_of: Release | None = None) -> Release:
    prompt = house.make_prompt()
    checked = house.check(texts, prompt)
    house.begin(run)
    return house.offer_checked([checked], prompt, sink=sink, run_id=run, now=time.time(), held_of=held_of)


def _deliver(house: House, approval: Approval) -> dict[str, str]:
    return _states(deliver_release(approval, ledger=house.ledger, settings=house.settings))


def _go_on(house: House, approval: Approval) -> dict[str, str]:
    return _deliver(house, replace(approval, state="consumed"))


def _recall(house: House, release: Release) -> dict[str, str]:
    found = recall_release(release.release_id, by="Ada", reason="no", ledger=house.ledger, settings=house.settings)
    return _states(found)


def _states(receipts: list[Receipt]) -> dict[str, str]:
    return {r.row_id: r.state for r in receipts}


def _read_states(house: House, approval: Approval) -> dict[str, str]:
    with house.ledger.reading() as connection:
        return _states(find_receipts(connection, approval.approval_id))


def _rows_out(house: House) -> list[str]:
    return [json.loads(line)["row_id"] for line in house.out.read_text().splitlines()]


@contextmanager
def _answers_lost(monkeypatch: pytest.MonkeyPatch, *, is_written: bool) -> Iterator[None]:
    """The table takes the rows or does not; either way nobody hears of it."""
    deliver = SqlSink.deliver

    def lose(sink: SqlSink, consignment: Consignment) -> list[Outcome]:
        if is_written:
            deliver(sink, consignment)
        raise DeliveryDeferred("The answer was lost.")

    with monkeypatch.context() as patch:
        patch.setattr(SqlSink, "deliver", lose)
        yield


@pytest.mark.parametrize("is_written", [True, False])
def test_a_recall_takes_back_what_may_be_there_though_its_answer_was_lost(
    house: House, table: tuple[str, Read], monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    sink, read = table
    release = _offer(house, ["a", "b"], sink, "night-1")
    approval = house.approve(release)
    with _answers_lost(monkeypatch, is_written=is_written), pytest.raises(RunHalted):
        _deliver(house, approval)
    assert _read_states(house, approval) == {"r1": "promised", "r2": "promised"}
    assert len(read()) == (2 if is_written else 0)
    assert _recall(house, release) == {"r1": "recalled", "r2": "recalled"}
    assert read() == []
    # What was recalled does not leave when the run goes on.
    assert _go_on(house, approval) == {"r1": "recalled", "r2": "recalled"}
    assert read() == []


def test_what_a_killed_sender_had_in_hand_can_be_recalled_while_its_sink_is_on_hold(
    house: House, table: tuple[str, Read], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, read = table
    release = _offer(house, ["a", "b"], sink, "night-1")
    approval = house.approve(release)
    deliver = SqlSink.deliver

    def be_killed(sink: SqlSink, consignment: Consignment) -> list[Outcome]:
        deliver(sink, consignment)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SqlSink, "deliver", be_killed)
        with pytest.raises(KeyboardInterrupt):
            _deliver(house, approval)
    assert _read_states(house, approval) == {"r1": "sending", "r2": "sending"}
    house.ledger.write(lambda c: hold_sink(c, release.sink, by="Ada", reason="wrong", now=1.0))
    assert _recall(house, release) == {"r1": "recalled", "r2": "recalled"}
    assert read() == []


def test_a_sender_that_stood_still_before_it_sent_leaves_no_row_in_doubt(house: House) -> None:
    with FakeSmtp() as smtp:
        approval = house.approve(_offer(house, ["a", "b"], smtp.name(), "night-1"))
        # Its lease is over as soon as it has it.
        slow = House(replace(house.settings, lease_s=0.0), house.ledger)
        with pytest.raises(RunHalted, match="stood still for longer than its lease"):
            _deliver(slow, approval)
        assert _read_states(house, approval) == {"r1": "promised", "r2": "promised"}
        assert smtp.messages == []
        assert _go_on(house, approval) == {"r1": "delivered", "r2": "delivered"}
        assert len(smtp.messages) == 2


def test_a_row_that_could_not_be_read_is_not_in_doubt(house: House) -> None:
    class Smtp(FakeSmtp):
        def keep(self, mail: Mail) -> None:
            super().keep(mail)
            # After the approval was verified, and before the next row is read.
            house.tamper(alter, data=b"altered", digest=digest)

    alter = "UPDATE bodies SET data = :data WHERE digest = :digest"
    with Smtp() as smtp:
        approval = house.approve(_offer(house, ["a", "b"], smtp.name(), "night-1"))
        query = "SELECT digest, data FROM bodies JOIN release_rows ON payload = digest WHERE row_id = 'r2'"
        [(digest, data)] = house.fetch(query)
        with pytest.raises(LedgerRefused, match="missing or altered"):
            _deliver(house, approval)
        assert _read_states(house, approval) == {"r1": "delivered", "r2": "promised"}
        assert len(smtp.messages) == 1
        house.tamper(alter, data=data, digest=digest)
        assert _go_on(house, approval) == {"r1": "delivered", "r2": "delivered"}
        assert len(smtp.messages) == 2


def test_an_older_version_of_a_row_does_not_take_the_place_of_a_newer_one(
    house: House, table: tuple[str, Read], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, read = table
    old = house.approve(_offer(house, ["old"], sink, "night-1"))
    new = house.approve(_offer(house, ["new"], sink, "night-2"))
    with _answers_lost(monkeypatch, is_written=False), pytest.raises(RunHalted):
        _deliver(house, old)
    assert _deliver(house, new) == {"r1": "delivered"}
    with pytest.raises(ApprovalRefused, match="holds a later release"):
        _go_on(house, old)
    assert read() == [("r1", "new")]
    assert _read_states(house, old) == {"r1": "superseded"}


def test_rows_that_left_with_another_release_are_recalled_with_that_one(house: House, table: tuple[str, Read]) -> None:
    sink, read = table
    first, second = _offer(house, ["a"], sink, "night-1"), _offer(house, ["a"], sink, "night-2")
    _deliver(house, house.approve(first))
    approval = house.approve(second)
    assert _deliver(house, approval) == {"r1": "earlier"}
    with pytest.raises(ApprovalRefused, match="left with another release"):
        _recall(house, second)
    assert house.fetch("SELECT * FROM interventions") == []
    assert _recall(house, first) == {"r1": "recalled"}
    assert _read_states(house, approval) == {"r1": "recalled"}
    assert read() == []
    # It may leave again, under another approval.
    third = _offer(house, ["a"], sink, "night-3")
    assert _deliver(house, house.approve(third)) == {"r1": "delivered"}
    assert read() == [("r1", "a")]


def test_rows_that_join_those_that_left_first_bring_in_no_byte_that_was_not_approved(house: House) -> None:
    _deliver(house, house.approve(_offer(house, ["a", "b"], house.sink, "night-1"), r2="wrong"))
    held = find_held(house.ledger, "night-1", house.sink)
    approval = house.approve(_offer(house, ["a", "b"], house.sink, "night-1", held))
    forged = make_body(b'{"row_id":"r1","label":"forged"}')
    house.ledger.write(lambda c: record_bodies(c, [forged]))
    house.tamper("UPDATE outbox SET payload = :payload WHERE row_id = 'r1'", payload=to_bytes(forged.digest))
    with pytest.raises(ApprovalRefused, match="that its approval does not let out"):
        _deliver(house, approval)
    assert "forged" not in house.out.read_text()


def test_held_rows_do_not_take_the_place_of_a_later_nights_file(house: House) -> None:
    _deliver(house, house.approve(_offer(house, ["a", "b"], house.sink, "night-1"), r2="wrong"))
    _deliver(house, house.approve(_offer(house, ["c", "d", "e"], house.sink, "night-2")))
    with pytest.raises(ApprovalRefused, match="holds a later release"):
        find_held(house.ledger, "night-1", house.sink)
    assert _rows_out(house) == ["r1", "r2", "r3"]


def test_a_machine_without_the_key_makes_no_other_one(house: House) -> None:
    house.approve(house.offer(1))
    house.settings.approval_key.unlink()
    with pytest.raises(ApprovalRefused, match="Copy it from where approvals were given before"):
        house.approve(house.offer(2, run_id="night-2"))
    assert not house.settings.approval_key.exists()
