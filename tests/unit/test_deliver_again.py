"""A row that goes back to what it said before reaches its sink again; one that stays as it is does not."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from overnight.approve import find_held
from overnight.deliver import deliver_release, recall_release, settle_unknown
from overnight.failures import ApprovalRefused, LedgerRefused, RunHalted
from overnight.keys import delivery_key
from overnight.ledger.columns import to_bytes
from overnight.ledger.promises import find_receipts
from overnight.records import Approval, Payload, Receipt, Release
from overnight.sinks import DeliveryDeferred
from overnight.sinks.contract import Consignment, Outcome
from overnight.sinks.http import HttpSink
from overnight.sinks.sql import SqlSink
from tests.acceptance.receiver import Receiver
from tests.conftest import DATABASES, House
from tests.fakes.s3 import FakeS3
from tests.fakes.smtp import FakeSmtp

pytestmark = pytest.mark.parametrize("database", DATABASES)

_TABLE = "CREATE TABLE t (row_id TEXT PRIMARY KEY, label, quote, request_key, prompt_hash, model)"


@dataclass
class Nights:
    """A house whose nights send rows to one sink, each night under a run of its own."""

    house: House
    sink: str
    n: int = field(default=0)

    def offer(self, *texts: str, held_of: Release | None = None, run: str | None = None) -> Release:
        """The texts as rows r1, r2, …, to be let out."""
        self.n += 1
        prompt = self.house.make_prompt()
        run = self.house.begin(run or f"night-{self.n}", now=float(self.n))
        checked = self.house.check(texts, prompt)
        return self.house.offer_checked([checked], prompt, sink=self.sink, run_id=run, now=time.time(), held_of=held_of)

    def approve(self, *texts: str) -> Approval:
        return self.house.approve(self.offer(*texts))

    def deliver(self, approval: Approval) -> dict[str, str]:
        return _states(deliver_release(approval, ledger=self.house.ledger, settings=self.house.settings))

    def go_on(self, approval: Approval) -> dict[str, str]:
        return self.deliver(replace(approval, state="consumed"))

    def live(self, *texts: str) -> str:
        """A night from its offer to its end; what became of its first row."""
        return self.deliver(self.approve(*texts))["r1"]

    def recall(self, release_id: str) -> dict[str, str]:
        found = recall_release(
            release_id, by="Ada", reason="no", ledger=self.house.ledger, settings=self.house.settings
        )
        return _states(found)

    def read_states(self, approval: Approval) -> dict[str, str]:
        with self.house.ledger.reading() as connection:
            return _states(find_receipts(connection, approval.approval_id))


@dataclass
class Table:
    """A table as a sink, and what it holds."""

    path: Path

    @property
    def sink(self) -> str:
        return f"sqlite:///{self.path}?table=t"

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()

    def read(self) -> dict[str, str]:
        return dict(self.execute("SELECT row_id, quote FROM t ORDER BY row_id"))

    def count_keys(self) -> int:
        return int(self.execute("SELECT count(*) FROM overnight_deliveries")[0][0])


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path / "crm.sqlite")
    table.execute(_TABLE)
    return table


@pytest.fixture
def nights(house: House, table: Table) -> Nights:
    return Nights(house, table.sink)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@contextmanager
def _answers_lost(monkeypatch: pytest.MonkeyPatch, *, is_written: bool = True) -> Iterator[None]:
    """The table takes the rows or does not; either way nobody hears of it."""
    deliver = SqlSink.deliver

    def lose(sink: SqlSink, consignment: Consignment) -> list[Outcome]:
        if is_written:
            deliver(sink, consignment)
        raise DeliveryDeferred("The answer was lost.")

    with monkeypatch.context() as patch:
        patch.setattr(SqlSink, "deliver", lose)
        yield


def _states(receipts: list[Receipt]) -> dict[str, str]:
    return {r.row_id: r.state for r in receipts}


def test_a_receiver_is_sent_each_change_under_a_key_of_its_own(house: House, receiver: Receiver) -> None:
    nights = Nights(house, receiver.url)
    texts = ["first", "second", "first", "second", "first"]
    assert [nights.live(text) for text in texts] == ["delivered"] * 5
    assert [one.row["quote"] for one in receiver.received] == texts
    assert len({one.key for one in receiver.received}) == 5


def test_what_stays_as_it_is_is_sent_once_however_it_came_to_be(house: House, receiver: Receiver) -> None:
    nights = Nights(house, receiver.url)
    found = [nights.live(text, "same") for text in ["first", "first", "second", "first", "first", "first"]]
    assert found == ["delivered", "earlier", "delivered", "delivered", "earlier", "earlier"]
    sent = [(one.row["row_id"], one.row["quote"]) for one in receiver.received]
    assert sent == [("r1", "first"), ("r2", "same"), ("r1", "second"), ("r1", "first")]


def test_a_first_version_keeps_the_plain_key(house: House, receiver: Receiver) -> None:
    nights = Nights(house, receiver.url)
    for text in ("first", "second", "first"):
        nights.live(text)
    query = (
        "SELECT o.delivery_key, o.payload, o.follows FROM outbox o JOIN approvals a USING (approval_id) ORDER BY turn"
    )
    (k1, p1, f1), (k2, p2, f2), (k3, p3, f3) = [[v and bytes(v).hex() for v in row] for row in house.fetch(query)]
    sink = receiver.url
    assert (k1, k2) == (delivery_key(sink, "r1", p1), delivery_key(sink, "r1", p2))
    assert (f1, f2, f3) == (None, None, k2)
    assert (p3, k3) == (p1, delivery_key(sink, "r1", p1, k2))
    assert [one.key for one in receiver.received] == [k1, k2, k3]


def test_a_table_holds_what_was_let_out_last(nights: Nights, table: Table) -> None:
    for n, text in enumerate(["first", "second", "first", "second", "first"], 1):
        assert nights.live(text, "same") == "delivered"
        assert table.read() == {"r1": text, "r2": "same"}
        assert table.count_keys() == n + 1


def test_a_mail_is_sent_again_under_another_message_id(house: House) -> None:
    with FakeSmtp() as smtp:
        nights = Nights(house, smtp.name())
        assert [nights.live(text) for text in ("first", "second", "first", "first")] == [*["delivered"] * 3, "earlier"]
        assert len(smtp.messages) == 3
    with house.ledger.reading():
        assert len({key for (key,) in house.fetch("SELECT delivery_key FROM outbox")}) == 3


def test_an_object_of_a_later_night_holds_the_row_again(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with FakeS3() as s3:
        # Looked up before there is a credential.
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        credential = house.settings.credentials / "rows"
        credential.parent.mkdir(parents=True)
        credential.write_text(s3.make_credential())
        credential.chmod(0o600)
        nights = Nights(house, "s3://rows/out/{release}.jsonl")
        assert [nights.live(text, "same") for text in ("first", "second", "first")] == ["delivered"] * 3
        assert nights.live("first", "same") == "earlier"
        held = [[json.loads(line)["quote"] for line in body.splitlines()] for body in s3.objects.values()]
    assert held == [["first", "same"], ["second"], ["first"]]


def test_a_kill_between_a_send_and_its_record_sends_the_same_key_again(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights, send = Nights(house, receiver.url), HttpSink.send

    def be_killed(sink: HttpSink, payload: Payload) -> str:
        send(sink, payload)
        raise KeyboardInterrupt

    nights.live("first")
    nights.live("second")
    approval = nights.approve("first")
    with monkeypatch.context() as patch:
        patch.setattr(HttpSink, "send", be_killed)
        with pytest.raises(KeyboardInterrupt):
            nights.deliver(approval)
    assert nights.read_states(approval) == {"r1": "sending"}
    assert nights.go_on(approval) == {"r1": "delivered"}
    assert [one.row["quote"] for one in receiver.received] == ["first", "second", "first", "first"]
    assert len({one.key for one in receiver.received}) == 3
    assert nights.live("first") == "earlier"


def test_a_recall_of_the_third_brings_the_second_back_and_the_row_may_go_on_from_there(
    nights: Nights, table: Table
) -> None:
    nights.live("first")
    nights.live("second")
    third = nights.approve("first")
    nights.deliver(third)
    relying = nights.approve("first")
    assert nights.deliver(relying) == {"r1": "earlier"}
    assert nights.recall(third.release_id) == {"r1": "recalled"}
    assert nights.read_states(relying) == {"r1": "recalled"}
    assert table.read() == {"r1": "second"}
    assert nights.live("second") == "earlier"
    assert nights.live("first") == "delivered"
    assert table.read() == {"r1": "first"}


def test_a_recall_of_what_another_version_has_replaced_leaves_that_one(nights: Nights, table: Table) -> None:
    nights.live("first")
    second = nights.approve("second")
    nights.deliver(second)
    nights.live("first")
    assert nights.recall(second.release_id) == {"r1": "delivered"}
    assert table.read() == {"r1": "first"}


def test_held_rows_that_go_back_are_offered_and_delivered_later(nights: Nights, table: Table) -> None:
    nights.live("first", "one")
    nights.live("second", "two")
    release = nights.offer("first", "one")
    nights.deliver(nights.house.approve(release, r2="wrong"))
    assert table.read() == {"r1": "first", "r2": "two"}
    held = find_held(nights.house.ledger, release.run_id, release.sink)
    again = nights.offer("first", "one", held_of=held, run=release.run_id)
    assert again.n_rows == 1
    # Another night comes between the offer and the approval.
    nights.live("first", "three")
    assert nights.deliver(nights.house.approve(again)) == {"r2": "delivered"}
    assert table.read() == {"r1": "first", "r2": "one"}


def test_a_row_that_is_corrected_back_is_delivered_again(nights: Nights, table: Table) -> None:
    corrected = {"corrected": {"label": "red", "quote": "mended"}}
    for text in ("wrong", "other", "wrong"):
        release = nights.offer(text)
        verdicts = {"r1": corrected} if text == "wrong" else {}
        assert nights.deliver(nights.house.approve(release, **verdicts)) == {"r1": "delivered"}
    assert table.read() == {"r1": "mended"}
    assert nights.deliver(nights.house.approve(nights.offer("wrong"), r1=corrected)) == {"r1": "earlier"}


@pytest.mark.parametrize("when", ["offered", "approved"])
def test_what_another_night_lets_out_meanwhile_keeps_nothing_stale(nights: Nights, table: Table, when: str) -> None:
    nights.live("first")
    waiting = nights.offer("first")
    approval = nights.house.approve(waiting) if when == "approved" else None
    nights.live("second")
    assert nights.deliver(approval or nights.house.approve(waiting)) == {"r1": "delivered"}
    assert table.read() == {"r1": "first"}


@pytest.mark.parametrize("is_written", [True, False])
def test_what_may_stand_there_is_written_over_and_does_not_come_back(
    nights: Nights, table: Table, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    nights.live("first")
    second = nights.approve("second")
    with _answers_lost(monkeypatch, is_written=is_written), pytest.raises(RunHalted):
        nights.deliver(second)
    # What stands there by the ledger is "first": by the table it may be "second".
    assert nights.live("first") == "delivered"
    assert table.read() == {"r1": "first"}
    with pytest.raises(ApprovalRefused, match="holds a later release"):
        nights.go_on(second)
    assert nights.live("second") == "delivered"
    assert table.read() == {"r1": "second"}


def test_what_came_to_light_by_a_recall_is_written_over_too(
    nights: Nights, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.live("first")
    second = nights.approve("second")
    with _answers_lost(monkeypatch), pytest.raises(RunHalted):
        nights.deliver(second)
    third = nights.approve("third")
    nights.deliver(third)
    with pytest.raises(ApprovalRefused, match="holds a later release"):
        nights.go_on(second)
    nights.recall(third.release_id)
    # The ledger has never heard that it arrived.
    assert table.read() == {"r1": "second"}
    assert nights.live("first") == "delivered"
    assert table.read() == {"r1": "first"}


def test_an_older_version_waits_until_it_is_known_what_became_of_a_newer_one(
    nights: Nights, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = nights.approve("old"), nights.approve("new")
    with _answers_lost(monkeypatch, is_written=False), pytest.raises(RunHalted):
        nights.deliver(old)
    with _answers_lost(monkeypatch), pytest.raises(RunHalted):
        nights.deliver(new)
    with pytest.raises(RunHalted, match="their fate there is unknown"):
        nights.go_on(old)
    assert table.read() == {"r1": "new"}
    assert nights.go_on(new) == {"r1": "delivered"}
    with pytest.raises(ApprovalRefused, match="holds a later release"):
        nights.go_on(old)
    assert table.read() == {"r1": "new"}


def test_no_version_is_sent_while_another_one_is_in_hand(
    nights: Nights, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, deliver = nights.approve("old", "a"), nights.approve("new", "b"), SqlSink.deliver
    said: list[str] = []

    def meet(sink: SqlSink, consignment: Consignment) -> list[Outcome]:
        if consignment.release_id == old.release_id:
            with pytest.raises(RunHalted) as halted:
                nights.deliver(new)
            said.append(str(halted.value))
        return deliver(sink, consignment)

    with monkeypatch.context() as patch:
        patch.setattr(SqlSink, "deliver", meet)
        assert nights.deliver(old) == {"r1": "delivered", "r2": "delivered"}
    assert "in the hands of another release" in said[0]
    assert nights.go_on(new) == {"r1": "delivered", "r2": "delivered"}
    assert table.read() == {"r1": "new", "r2": "b"}


def test_a_version_that_was_refused_does_not_come_after_a_later_one(nights: Nights, table: Table, house: House) -> None:
    nights.live("first")
    table.execute("CREATE TRIGGER no BEFORE UPDATE ON t WHEN NEW.quote = 'second' BEGIN SELECT RAISE(ABORT, 'no'); END")
    second = nights.approve("second")
    assert nights.deliver(second) == {"r1": "failed"}
    table.execute("DROP TRIGGER no")
    assert nights.live("first") == "earlier"
    with pytest.raises(ApprovalRefused, match="a later release has let it out since"):
        settle_unknown(second.release_id, ["r1"], arrived=False, by="Ada", reason="mended", ledger=house.ledger)
    assert table.read() == {"r1": "first"}
    assert nights.live("second") == "delivered"


def test_a_refused_version_that_nothing_follows_may_be_sent_again(nights: Nights, table: Table, house: House) -> None:
    nights.live("first")
    table.execute("CREATE TRIGGER no BEFORE UPDATE ON t WHEN NEW.quote = 'second' BEGIN SELECT RAISE(ABORT, 'no'); END")
    second = nights.approve("second")
    nights.deliver(second)
    table.execute("DROP TRIGGER no")
    settle_unknown(second.release_id, ["r1"], arrived=False, by="Ada", reason="mended", ledger=house.ledger)
    assert nights.go_on(second) == {"r1": "delivered"}
    assert table.read() == {"r1": "second"}


def _forge_none(house: House, key: str) -> None:
    house.tamper("UPDATE outbox SET follows = :key WHERE follows IS NOT NULL", key=to_bytes(key))


def _forge_key(house: House, key: str) -> None:
    house.tamper("UPDATE outbox SET delivery_key = :key WHERE follows IS NOT NULL", key=to_bytes(key))


@pytest.mark.parametrize("forge", [_forge_none, _forge_key])
def test_a_key_that_is_not_made_of_what_it_follows_sends_nothing(
    nights: Nights, table: Table, monkeypatch: pytest.MonkeyPatch, forge: Callable[[House, str], None]
) -> None:
    nights.live("first")
    nights.live("second")
    third = nights.approve("first")
    with _answers_lost(monkeypatch, is_written=False), pytest.raises(RunHalted):
        nights.deliver(third)
    forge(nights.house, "ab" * 32)
    with pytest.raises(ApprovalRefused, match="that its approval does not let out"):
        nights.go_on(third)
    assert table.read() == {"r1": "second"}


_USED_UP = "UPDATE approvals SET state = 'consumed', turn = 9 WHERE state = 'approved'"
_SLIPPED = """
    INSERT INTO outbox (approval_id, position, delivery_key, follows, row_id, payload, state, n_sends, promised_at)
    SELECT a.approval_id, r.position, :key, :follows, r.row_id, r.payload, 'promised', 0, 1.0
    FROM approvals a JOIN release_rows r ON r.release_id = a.release_id WHERE a.turn = 9
"""


def _slip(nights: Nights, follows: bytes | None) -> None:
    """Promise what is approved under a key that is said to follow another."""

    def job(connection: sa.Connection) -> None:
        connection.exec_driver_sql(_USED_UP)
        connection.execute(sa.text(_SLIPPED), {"key": bytes(32), "follows": follows})

    nights.house.ledger.write(job)


def test_the_database_refuses_a_key_that_follows_no_other_version_of_the_row(nights: Nights) -> None:
    nights.live("first", "one")
    nights.live("second", "one")
    query = "SELECT delivery_key FROM outbox WHERE state = 'delivered' ORDER BY row_id, promised_at"
    first, second, other_row = [bytes(key) for (key,) in nights.house.fetch(query)]
    nights.approve("first")
    for follows in (None, bytes(32), first, other_row):
        with pytest.raises(LedgerRefused, match="no row enters the outbox"):
            _slip(nights, follows)
    # What the publisher would refuse, since the key is not made of it.
    _slip(nights, second)


def test_what_a_promise_follows_is_not_changed_afterwards(nights: Nights) -> None:
    for text in ("first", "second", "first"):
        nights.live(text)
    with pytest.raises(LedgerRefused, match="what was promised is not changed"):
        nights.house.ledger.write(lambda c: c.exec_driver_sql("UPDATE outbox SET follows = NULL WHERE state <> ''"))


def test_a_file_that_holds_one_release_needs_no_other_keys(house: House) -> None:
    nights = Nights(house, house.sink)
    assert [nights.live(text) for text in ("first", "second", "first")] == ["delivered"] * 3
    assert [json.loads(line)["quote"] for line in house.out.read_text().splitlines()] == ["first"]
    assert house.fetch("SELECT count(*) FROM outbox WHERE follows IS NOT NULL") == [(0,)]
