"""An approval that is forged, edited or expired lets nothing out."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import ApprovalRefused, LedgerRefused, OvernightError, RunHalted, SinkRefused
from overnight.ledger.approvals import find_decided
from overnight.ledger.bodies import make_body
from overnight.records import Approval, Receipt
from overnight.signature import sign_approval
from tests.conftest import RUN, House
from tests.unit.conftest import Receiver

_CHANGED = "was changed after its approval"
_UNSIGNED = "is not as it was signed"


def _deliver(house: House, approval: Approval) -> list[Receipt]:
    return deliver_release(approval, ledger=house.ledger, settings=house.settings)


def _standing(house: House, sink: str | None = None) -> Approval:
    found = find_standing(house.ledger, RUN, sink or house.sink, now=time.time())
    assert isinstance(found, Approval)
    return found


def _refused(house: House, approval: Approval, *, by: type[OvernightError] = ApprovalRefused) -> str:
    """What was said; nothing was promised, and nothing written."""
    with pytest.raises(by) as caught:
        _deliver(house, approval)
    assert "\n" not in str(caught.value)
    assert house.fetch("SELECT * FROM outbox") == []
    assert not house.out.exists()
    return str(caught.value)


def test_an_approval_that_the_ledger_does_not_know_is_refused(house: House) -> None:
    approval = house.approve(house.offer())
    said = _refused(house, replace(approval, approval_id="f" * 32))
    assert said.startswith(f"Approval {'f' * 12} of release {approval.release_id} is not in the ledger")


def test_an_approval_for_another_sink_is_refused_and_both_are_named(house: House) -> None:
    approval = house.approve(house.offer())
    said = _refused(house, replace(approval, sink="file:/elsewhere.jsonl"))
    assert f"approved for sink {house.sink!r} but is being delivered to 'file:/elsewhere.jsonl'" in said


@pytest.mark.parametrize("field", ["allowed_digest", "release_digest"])
def test_an_approval_of_other_rows_is_refused(house: House, field: str) -> None:
    approval = house.approve(house.offer())
    forged: dict[str, Any] = {field: "0" * 64}
    assert "covers other rows than these" in _refused(house, replace(approval, **forged))


def test_an_approval_of_an_earlier_release_does_not_cover_a_later_one(house: House) -> None:
    first = house.approve(house.offer(2, now=1.0))
    second = house.approve(house.offer(3, now=2.0))
    _refused(house, replace(second, approval_id=first.approval_id))


def test_a_payload_whose_bytes_were_changed_is_refused(house: House) -> None:
    approval = house.approve(house.offer(2))
    house.tamper("UPDATE bodies SET data = :data", data=make_body(b'{"row_id":"r1"}').packed)
    assert "missing or altered" in _refused(house, approval, by=LedgerRefused)


def test_a_row_that_points_at_other_bytes_is_refused(house: House) -> None:
    approval = house.approve(house.offer(2))
    house.tamper(
        "UPDATE release_rows SET payload = (SELECT payload FROM release_rows WHERE position = 1) WHERE position = 0"
    )
    assert f"Release {approval.release_id} was changed after its approval" in _refused(house, approval)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("DELETE FROM held_rows", _CHANGED),
        ("UPDATE release_rows SET position = 7 WHERE position = 0", _CHANGED),
        ("UPDATE release_rows SET delivery_key = zeroblob(32) WHERE position = 0", _CHANGED),
        ("UPDATE release_rows SET row_id = 'r9' WHERE position = 0", _CHANGED),
        ("UPDATE release_rows SET request_key = zeroblob(32) WHERE position = 0", _CHANGED),
        ("UPDATE releases SET prompt_hash = zeroblob(32)", _CHANGED),
        ("UPDATE releases SET model = 'openai:another'", _CHANGED),
        ("UPDATE releases SET checks_digest = zeroblob(32)", _CHANGED),
        ("DELETE FROM draws", _UNSIGNED),
        ("UPDATE approvals SET allowed_digest = zeroblob(32)", _UNSIGNED),
        ("UPDATE approvals SET sink = 'file:{home}/elsewhere.jsonl'", _UNSIGNED),
        ("UPDATE approvals SET reviewer = 'Mallory'", _UNSIGNED),
        ("UPDATE approvals SET expires_at = expires_at + 86400", _UNSIGNED),
        ("UPDATE approvals SET issued_mark = issued_mark + 86400", _UNSIGNED),
        ("UPDATE approvals SET nonce = 'another', signature = zeroblob(32)", _UNSIGNED),
    ],
)
def test_an_edited_record_is_refused(house: House, edit: str, said: str) -> None:
    house.approve(house.offer(3), r3="wrong")
    house.tamper(edit.format(home=house.home))
    assert said in _refused(house, _standing(house))


def test_a_record_that_was_signed_with_another_key_is_refused(house: House) -> None:
    house.approve(house.offer(3))
    house.settings.approval_key.write_bytes(bytes(32))
    assert _UNSIGNED in _refused(house, _standing(house))


@pytest.mark.parametrize("content", [None, b"short"])
def test_without_the_key_no_approval_is_verified(house: House, content: bytes | None) -> None:
    house.approve(house.offer(3))
    house.settings.approval_key.unlink()
    if content:
        house.settings.approval_key.write_bytes(content)
    assert str(house.settings.approval_key) in _refused(house, _standing(house))


def test_only_its_owner_can_read_the_key(house: House) -> None:
    house.approve(house.offer(1))
    assert house.settings.approval_key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE outbox SET payload = (SELECT payload FROM release_rows WHERE position = 2) WHERE position = 1",
        "UPDATE outbox SET delivery_key = zeroblob(32) WHERE position = 1",
        "UPDATE outbox SET position = 2 WHERE position = 1",
        (
            "INSERT INTO outbox (approval_id, position, delivery_key, row_id, payload, state, n_sends, promised_at)"
            " SELECT approval_id, r.position, r.delivery_key, r.row_id, r.payload, 'promised', 0, 1.0"
            " FROM release_rows r JOIN approvals USING (release_id) WHERE r.position = 2"
        ),
    ],
)
def test_what_was_slipped_into_the_outbox_does_not_leave(house: House, receiver: Receiver, edit: str) -> None:
    receiver.statuses["r1"] = 503
    approval = house.approve(house.offer(3, sink=receiver.uri), r3="wrong")
    with pytest.raises(RunHalted):
        _deliver(house, approval)
    receiver.sent.clear()
    house.tamper(edit)
    with pytest.raises(ApprovalRefused, match=r"holds a row .* that its approval does not let out"):
        _deliver(house, _standing(house, receiver.uri))
    assert receiver.sent == []


def test_an_expired_approval_is_refused_and_says_when(house: House) -> None:
    approval = house.approve(house.offer(approval_s=0.0))
    assert f"expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC" in _refused(house, approval)


def test_an_expiry_that_was_moved_in_the_object_alone_does_not_help(house: House) -> None:
    approval = house.approve(house.offer(approval_s=0.0))
    assert "expired" in _refused(house, replace(approval, expires_at=datetime.now(UTC) + timedelta(days=9)))


def test_calling_an_approval_consumed_sends_nothing_that_was_not_promised(house: House) -> None:
    approval = house.approve(house.offer())
    assert _deliver(house, replace(approval, state="consumed")) == []
    assert not house.out.exists()


def _write_credential(house: House, text: str, mode: int = 0o600) -> None:
    """What the receiver asks for."""
    house.settings.credentials.mkdir(exist_ok=True)
    file = house.settings.credentials / "127.0.0.1"
    file.write_text(text)
    file.chmod(mode)


def test_a_credential_that_cannot_be_sent_consumes_nothing(house: House, receiver: Receiver) -> None:
    approval = house.approve(house.offer(2, sink=receiver.uri))
    _write_credential(house, "two words")
    _refused(house, approval, by=SinkRefused)
    _write_credential(house, "word")
    assert [r.state for r in _deliver(house, approval)] == ["delivered", "delivered"]


def test_a_credential_that_everybody_can_read_is_refused(house: House, receiver: Receiver) -> None:
    approval = house.approve(house.offer(1, sink=receiver.uri))
    _write_credential(house, "word", 0o644)
    assert "chmod 600" in _refused(house, approval, by=SinkRefused)


def test_an_approval_that_is_over_opens_no_credential(house: House, receiver: Receiver) -> None:
    approval = house.approve(house.offer(1, sink=receiver.uri, approval_s=0.0))
    # It would be refused by name, were it read.
    _write_credential(house, "two words", 0o644)
    assert "expired" in _refused(house, approval)


def test_an_approval_from_before_there_were_findings_is_verified_as_it_was_signed(house: House) -> None:
    approval = house.approve(house.offer(20))
    with house.ledger.reading() as connection:
        fields, _ = find_decided(connection, approval.approval_id)
    del fields["findings"]
    signature = bytes.fromhex(sign_approval(fields, house.settings.approval_key, is_first=False))
    house.tamper("UPDATE approvals SET findings = NULL, signature = :signature", signature=signature)
    receipts = deliver_release(_standing(house), ledger=house.ledger, settings=house.settings)
    assert {r.state for r in receipts} == {"delivered"}
