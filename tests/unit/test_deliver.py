from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import ApprovalRefused, OvernightError, RunHalted, SinkRefused
from overnight.records import Approval, Receipt
from overnight.sinks import DeliveryDeferred
from tests.conftest import RUN, House
from tests.unit.conftest import Receiver


def _deliver(house: House, approval: Approval) -> list[Receipt]:
    return deliver_release(approval, ledger=house.ledger, settings=house.settings)


def _standing(house: House, sink: str | None = None) -> Approval:
    found = find_standing(house.ledger, RUN, sink or house.sink, now=time.time())
    assert isinstance(found, Approval)
    return found


def _states(receipts: list[Receipt]) -> dict[str, str]:
    return {r.row_id: r.state for r in receipts}


def _rows_out(house: House) -> list[str]:
    return [json.loads(line)["row_id"] for line in house.out.read_text().splitlines()]


def test_exactly_the_rows_that_were_let_out_are_delivered(house: House) -> None:
    receipts = _deliver(house, house.approve(house.offer(4), r2="wrong", r3="unsure"))
    assert _states(receipts) == {"r1": "delivered", "r4": "delivered"}
    assert _rows_out(house) == ["r1", "r4"]


def test_the_bytes_that_leave_are_those_that_were_offered(house: House) -> None:
    _deliver(house, house.approve(house.offer(1)))
    [row] = [json.loads(line) for line in house.out.read_text().splitlines()]
    assert (row["label"], row["quote"], row["row_id"]) == ("red", "text 1", "r1")


def test_an_http_receiver_gets_each_row_once_under_its_key(house: House, receiver: Receiver) -> None:
    receipts = _deliver(house, house.approve(house.offer(3, sink=receiver.uri), r2="wrong"))
    assert [(r.delivery_key, r.row_id) for r in receipts] == receiver.sent
    assert _states(receipts) == {"r1": "delivered", "r3": "delivered"}


def test_an_approval_delivers_once(house: House) -> None:
    approval = house.approve(house.offer())
    _deliver(house, approval)
    house.out.unlink()
    with pytest.raises(ApprovalRefused, match=f"release {approval.release_id} has been used already"):
        _deliver(house, approval)
    assert not house.out.exists()


def test_a_consumed_approval_has_its_receipts_and_sends_nothing_twice(house: House, receiver: Receiver) -> None:
    receipts = _deliver(house, house.approve(house.offer(2, sink=receiver.uri)))
    assert _deliver(house, _standing(house, receiver.uri)) == receipts
    assert receiver.list_rows() == ["r1", "r2"]


def test_of_16_deliveries_at_once_one_wins(house: House, receiver: Receiver) -> None:
    approval, together = house.approve(house.offer(2, sink=receiver.uri)), threading.Barrier(16)

    def deliver(_: int) -> str:
        together.wait(10)
        try:
            return str(len(_deliver(house, approval)))
        except ApprovalRefused as error:
            return "used already" if "used already" in str(error) else str(error)

    with ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(deliver, range(16))) == {"2": 1, "used already": 15}
    assert receiver.list_rows() == ["r1", "r2"]


def test_of_two_drains_at_once_one_sends_and_the_other_is_refused_by_name(house: House, receiver: Receiver) -> None:
    arrived, goes_on = receiver.hold("r1")
    approval = house.approve(house.offer(3, sink=receiver.uri))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(_deliver, house, approval)
        assert arrived.wait(10)
        with pytest.raises(ApprovalRefused, match=f"Release {approval.release_id} is being delivered") as caught:
            _deliver(house, _standing(house, receiver.uri))
        goes_on.set()
        receipts = first.result(10)
    assert "\n" not in str(caught.value)
    assert set(_states(receipts).values()) == {"delivered"}
    assert receiver.list_rows() == ["r1", "r2", "r3"]
    assert _deliver(house, _standing(house, receiver.uri)) == receipts


def test_a_row_that_was_promised_and_never_sent_goes_with_a_later_approval(house: House, receiver: Receiver) -> None:
    receiver.statuses["r2"] = 503
    first = house.approve(house.offer(2, sink=receiver.uri, now=1.0))
    with pytest.raises(RunHalted):
        _deliver(house, first)
    receiver.statuses.clear()
    receiver.sent.clear()
    receipts = _deliver(house, house.approve(house.offer(3, sink=receiver.uri, now=2.0)))
    assert _states(receipts) == {"r1": "earlier", "r2": "delivered", "r3": "delivered"}
    assert receiver.list_rows() == ["r2", "r3"]
    # The earlier approval has nothing left to send.
    drained = deliver_release(replace(first, state="consumed"), ledger=house.ledger, settings=house.settings)
    assert _states(drained) == {"r1": "delivered", "r2": "earlier"}
    assert receiver.list_rows() == ["r2", "r3"]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 407])
def test_a_fault_of_the_token_or_the_address_gives_no_row_up(house: House, receiver: Receiver, status: int) -> None:
    receiver.statuses |= {"r1": status, "r2": status}
    approval = house.approve(house.offer(2, sink=receiver.uri))
    with pytest.raises(RunHalted, match=f"takes no rows now: HTTP {status}") as caught:
        _deliver(house, approval)
    assert "\n" not in str(caught.value)
    assert house.fetch("SELECT DISTINCT state FROM outbox") == [("promised",)]
    receiver.statuses.clear()
    receipts = _deliver(house, _standing(house, receiver.uri))
    assert _states(receipts) == {"r1": "delivered", "r2": "delivered"}


def test_an_approval_given_again_after_one_expired_delivers(house: House) -> None:
    release = house.offer(20, approval_s=60.0)
    expired = house.submit(release, house.answer(release), now=time.time() - 100).approval
    assert expired is not None
    with pytest.raises(ApprovalRefused, match="expired"):
        _deliver(house, expired)
    receipts = _deliver(house, house.approve(house.open_round(release)))
    assert set(_states(receipts).values()) == {"delivered"}
    assert _rows_out(house) == [f"r{n}" for n in range(1, 21)]


def test_a_row_that_an_earlier_release_delivered_is_not_sent_again(house: House, receiver: Receiver) -> None:
    _deliver(house, house.approve(house.offer(2, sink=receiver.uri, now=1.0)))
    receipts = _deliver(house, house.approve(house.offer(3, sink=receiver.uri, now=2.0)))
    assert _states(receipts) == {"r1": "earlier", "r2": "earlier", "r3": "delivered"}
    assert receiver.list_rows() == ["r1", "r2", "r3"]


def test_a_file_holds_the_whole_release_with_rows_that_were_delivered_earlier(house: House) -> None:
    _deliver(house, house.approve(house.offer(2, now=1.0)))
    receipts = _deliver(house, house.approve(house.offer(3, now=2.0)))
    assert _rows_out(house) == ["r1", "r2", "r3"]
    assert set(_states(receipts).values()) == {"delivered"}


def test_a_row_that_the_receiver_refuses_does_not_stop_the_others(house: House, receiver: Receiver) -> None:
    receiver.statuses["r2"] = 422
    receipts = _deliver(house, house.approve(house.offer(3, sink=receiver.uri)))
    assert _states(receipts) == {"r1": "delivered", "r2": "failed", "r3": "delivered"}
    assert "refused row r2 with HTTP 422" in receipts[1].detail
    assert receiver.list_rows() == ["r1", "r2", "r3"]


def test_where_the_receiver_is_down_rows_stay_promised_and_go_later_under_the_same_keys(
    house: House, receiver: Receiver
) -> None:
    receiver.statuses["r2"] = 503
    approval = house.approve(house.offer(3, sink=receiver.uri))
    with pytest.raises(
        RunHalted, match=f"Row r2 may not have reached .*`overnight review {RUN}` goes on from here"
    ) as caught:
        _deliver(house, approval)
    assert "\n" not in str(caught.value)
    assert house.fetch("SELECT state FROM outbox ORDER BY position") == [("delivered",), ("promised",), ("promised",)]
    receiver.statuses.clear()
    receipts = _deliver(house, _standing(house, receiver.uri))
    assert set(_states(receipts).values()) == {"delivered"}
    assert Counter(receiver.sent) == {(r.delivery_key, r.row_id): 5 if r.row_id == "r2" else 1 for r in receipts}


def test_a_host_that_may_not_be_reached_gets_nothing_and_the_approval_is_not_lost(
    house: House, receiver: Receiver
) -> None:
    approval = house.approve(house.offer(2, sink=receiver.uri))
    closed = replace(house.settings, allow_hosts=frozenset())
    with pytest.raises(SinkRefused, match=r"Add 127\.0\.0\.1 to OVERNIGHT_ALLOW_HOSTS"):
        deliver_release(approval, ledger=house.ledger, settings=closed)
    assert receiver.sent == []
    assert _standing(house, receiver.uri).state == "approved"
    assert house.fetch("SELECT * FROM outbox") == []
    receipts = _deliver(house, _standing(house, receiver.uri))
    assert set(_states(receipts).values()) == {"delivered"}
    assert receiver.list_rows() == ["r1", "r2"]


def test_a_host_that_cannot_be_found_uses_no_approval_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    open_ = replace(house.settings, allow_hosts=frozenset({"receiver.example"}))
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    approval = House(open_, house.ledger).approve(
        House(open_, house.ledger).offer(2, sink="https://receiver.example/in")
    )
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DeliveryDeferred, match=r"receiver\.example cannot be found now"):
        _deliver(house, approval)
    assert _standing(house, approval.sink).state == "approved"
    assert house.fetch("SELECT * FROM outbox") == []


def test_a_file_that_cannot_be_written_keeps_its_rows_promised(house: House) -> None:
    approval = house.approve(house.offer(2, sink=f"file:{house.home}/taken/out.jsonl"))
    (house.home / "taken").touch()
    with pytest.raises(OvernightError, match="cannot be written"):
        _deliver(house, approval)
    (house.home / "taken").unlink()
    receipts = _deliver(house, _standing(house, approval.sink))
    assert set(_states(receipts).values()) == {"delivered"}
