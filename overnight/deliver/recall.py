"""Recalling a release: what a reversible sink took is undone, by delivery key, and recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator

import sqlalchemy as sa

from overnight.deliver.answering import InboxPlace
from overnight.deliver.credentials import resolve_credential
from overnight.deliver.drain import read_whole
from overnight.deliver.opening import open_by_name
from overnight.deliver.verify import Verified, verify
from overnight.failpoints import reach
from overnight.failures import ApprovalRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.leases import Worker
from overnight.ledger.outbox import settle_recall, withdraw
from overnight.ledger.promises import (
    Promise,
    find_promises,
    find_receipts,
    find_standing,
    get_payloads,
    is_last_at_sink,
)
from overnight.ledger.releases import get_release
from overnight.ledger.sinks import lock_sink, record_intervention
from overnight.records import Approval, Receipt
from overnight.settings import Settings
from overnight.sinks import Consignment, Outcome, Sink

#: What may be at the sink.
_THERE = ("delivered", "unknown")


def recall_release(release_id: str, *, by: str, reason: str, ledger: Ledger, settings: Settings) -> list[Receipt]:
    """
    Undo what a release's approval let out; a row that cannot be undone stays delivered, with the reason.

    What it has promised and not sent does not leave any more.

    Raises:
        ApprovalRefused: Nothing of it was let out, its sink is irreversible, it is being delivered now, or a later
            release stands at a sink that holds one.
        DeliveryDeferred: The sink cannot be reached: what is not undone stays delivered.
    """
    verified = verify(_get_consumed(release_id, ledger), ledger=ledger, settings=settings)
    approval, now = verified.approval, time.time()
    _refuse_irreversible(release_id, ledger)
    with ledger.working(settings.lease_s) as worker:
        ledger.write(lambda connection: _withdraw(connection, approval, worker, by=by, reason=reason, now=now))
    credential = resolve_credential(verified, [*_THERE, "recalled"], ledger=ledger, settings=settings, now=now)
    place = InboxPlace(ledger, approval)
    with open_by_name(approval.sink, settings, credential=credential, place=place) as sink:
        for promises, outcomes in _take_back(sink, verified, ledger, settings):
            _record(approval, promises, outcomes, ledger)
    with ledger.reading() as connection:
        return find_receipts(connection, approval.approval_id)


def _get_consumed(release_id: str, ledger: Ledger) -> Approval:
    with ledger.reading() as connection:
        get_release(connection, release_id)
        approval = find_approval(connection, release_id=release_id)
    if approval is None or approval.state != "consumed":
        raise ApprovalRefused(f"Nothing of release {release_id} was let out: there is nothing to recall.")
    return approval


def _refuse_irreversible(release_id: str, ledger: Ledger) -> None:
    with ledger.reading() as connection:
        release = get_release(connection, release_id)
    if release.effect != "reversible":
        raise ApprovalRefused(
            f"What was sent to {release.sink} cannot be undone from here. `overnight hold {release.sink}` stops what"
            " has not left yet."
        )


def _withdraw(
    connection: sa.Connection, approval: Approval, worker: Worker, *, by: str, reason: str, now: float
) -> None:
    lock_sink(connection, approval.sink)
    withdraw(connection, approval, worker, now)
    if find_promises(connection, approval.approval_id, ["sending"]):
        raise ApprovalRefused(
            f"Release {approval.release_id} is being delivered now. Stop it by `overnight hold {approval.sink}`, then"
            " recall it."
        )
    if not find_promises(connection, approval.approval_id, [*_THERE, "recalled"]):
        raise ApprovalRefused(
            f"All rows of release {approval.release_id} left with another release: recall that one. `overnight outbox`"
            " lists them."
        )
    record_intervention(
        connection, "recall", approval.sink, by=by, reason=reason, now=now, release_id=approval.release_id
    )


def _take_back(
    sink: Sink, verified: Verified, ledger: Ledger, settings: Settings
) -> Iterator[tuple[list[Promise], list[Outcome]]]:
    approval = verified.approval
    with ledger.reading() as connection:
        promises = find_promises(connection, approval.approval_id, _THERE)
    verified.refuse_others(promises)
    if sink.replaces:
        if promises:
            outcomes = sink.recall(*_read_both(verified, ledger, settings))
            yield promises, outcomes[-len(promises) :]
        return
    size = sink.n_at_once or len(promises)
    for start in range(0, len(promises), size or 1):
        some = promises[start : start + size]
        with ledger.reading() as connection:
            payloads = get_payloads(connection, some)
        yield some, sink.recall(Consignment(approval.release_id, payloads), None)


def _read_both(verified: Verified, ledger: Ledger, settings: Settings) -> tuple[Consignment, Consignment | None]:
    """What the sink holds, and what it held before."""
    approval = verified.approval
    with ledger.reading() as connection:
        if not is_last_at_sink(connection, approval):
            raise ApprovalRefused(
                f"{approval.sink} holds a later release than {approval.release_id}. Recall that one first: `overnight"
                " outbox` lists them."
            )
        standing = find_standing(connection, approval)
        earlier = find_approval(connection, approval_id=standing) if standing else None
    now = Consignment(approval.release_id, read_whole(verified, ledger=ledger, settings=settings))
    if earlier is None:
        return now, None
    before = read_whole(verify(earlier, ledger=ledger, settings=settings), ledger=ledger, settings=settings)
    return now, Consignment(earlier.release_id, before)


def _record(approval: Approval, promises: list[Promise], outcomes: list[Outcome], ledger: Ledger) -> None:
    reach("after-recalled")
    now = time.time()
    found = {p: (o.is_delivered, o.detail) for p, o in zip(promises, outcomes, strict=True)}

    def job(connection: sa.Connection) -> None:
        lock_sink(connection, approval.sink)
        settle_recall(connection, approval.approval_id, found, now)

    ledger.write(job)
