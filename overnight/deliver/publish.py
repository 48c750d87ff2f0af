"""Publishing: an approval is verified and used up, its rows are promised, and the promises are kept."""

from __future__ import annotations

import time

import sqlalchemy as sa

from overnight.deliver.answering import InboxPlace
from overnight.deliver.credentials import resolve_credential
from overnight.deliver.drain import drain
from overnight.deliver.opening import open_by_name
from overnight.deliver.verify import Verified, verify
from overnight.failpoints import reach
from overnight.failures import ApprovalRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.outbox import consume
from overnight.ledger.promises import find_other_tenant, find_promises, find_receipts, get_payloads
from overnight.records import Approval, Receipt
from overnight.settings import Settings
from overnight.sinks import Sink

#: Promises that are not kept yet.
OPEN = ("promised", "sending")


def deliver_release(approval: Approval, *, ledger: Ledger, settings: Settings) -> list[Receipt]:
    """
    Send exactly the rows that the approval lets out to exactly the sink that it names.

    The ledger's record of the approval decides, not the object in hand. An approval that
    is "approved" is used up here, once; one that was "consumed" before goes on draining
    what it promised, and sends nothing twice.

    Raises:
        ApprovalRefused: Unknown, edited or forged, expired, used, for another sink, or for other bytes.
        SinkRefused: The sink's address may not be written to, or it cannot take such rows.
        DeliveryHeld: A person has stopped all writing to the sink.
        RunHalted: The sink does not answer; what was not sent stays promised.
    """
    verified = verify(approval, ledger=ledger, settings=settings)
    if approval.state == "approved" or _has_open(approval, ledger):
        credential = _resolve(verified, ledger, settings)
        place = InboxPlace(ledger, verified.approval)
        with open_by_name(verified.approval.sink, settings, credential=credential, place=place) as sink:
            if approval.state == "approved":
                _use_up(verified, sink, ledger)
            drain(sink, verified, ledger=ledger, settings=settings)
    with ledger.reading() as connection:
        return find_receipts(connection, verified.approval.approval_id)


def _has_open(approval: Approval, ledger: Ledger) -> bool:
    with ledger.reading() as connection:
        return bool(find_promises(connection, approval.approval_id, OPEN))


def _resolve(verified: Verified, ledger: Ledger, settings: Settings) -> str | None:
    try:
        return resolve_credential(verified, OPEN, ledger=ledger, settings=settings, now=time.time())
    except ApprovalRefused:
        raise _why_unusable(verified.approval, ledger) from None


def _use_up(verified: Verified, sink: Sink, ledger: Ledger) -> None:
    approval, rows = verified.approval, verified.rows
    with ledger.reading() as connection:
        [sample] = get_payloads(connection, rows[:1])
    sink.check(sample)
    reach("before-consume")
    now = time.time()

    def job(connection: sa.Connection) -> bool:
        is_used = consume(connection, approval, rows, is_plain=sink.replaces or sink.by_request, now=now)
        # Only now: who writes to the sink has had their turn.
        if is_used and sink.replaces and (other := find_other_tenant(connection, approval)):
            raise ApprovalRefused(
                f"Release {approval.release_id} goes on from rows that {approval.sink} holds no more: it holds release"
                f" {other} since, whose rows would be lost. Recall that one, or give these rows another --sink."
            )
        return is_used

    if not ledger.write(job):
        raise _why_unusable(approval, ledger)
    reach("after-consume")


def _why_unusable(approval: Approval, ledger: Ledger) -> ApprovalRefused:
    with ledger.reading() as connection:
        now = find_approval(connection, approval_id=approval.approval_id)
    # What was used up stays so: one that nobody has used is over, by whichever clock.
    if now and now.state == "approved":
        return ApprovalRefused(
            f"The approval of release {approval.release_id} expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC."
            " Run the flow again (no call is made) and review it."
        )
    return ApprovalRefused(
        f"The approval of release {approval.release_id} has been used already. One approval delivers once: see"
        f" `overnight runs` for what became of run {approval.run_id}."
    )
