"""Recalling a release: what a reversible sink took is undone, by delivery key, and recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator

import sqlalchemy as sa

from overnight.deliver.credentials import resolve_credential
from overnight.deliver.drain import read_whole
from overnight.deliver.opening import open_by_name
from overnight.deliver.verify import Verified, verify
from overnight.failpoints import reach
from overnight.failures import ApprovalRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
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
from overnight.ledger.sinks import record_intervention
from overnight.records import Approval, Receipt
from overnight.settings import Settings
from overnight.sinks import Consignment, Outcome, Sink


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
    ledger.write(lambda connection: _withdraw(connection, approval, by=by, reason=reason, now=now))
    credential = resolve_credential(verified, ["delivered", "recalled"], ledger=ledger, settings=settings, now=now)
    with open_by_name(approval.sink, settings, credential=credential) as sink:
        for promises, outcomes in _take_back(sink, verified, ledger):
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


def _withdraw(connection: sa.Connection, approval: Approval, *, by: str, reason: str, now: float) -> None:
    if find_promises(connection, approval.approval_id, ["sending"]):
        raise ApprovalRefused(
            f"Rows of release {approval.release_id} are in hand: it is being delivered, or its process was killed at"
            f" it. Stop it by `overnight hold {approval.sink}`, or let it end by `overnight review {approval.run_id}`;"
            " then recall it."
        )
    withdraw(connection, approval.approval_id, now)
    record_intervention(
        connection, "recall", approval.sink, by=by, reason=reason, now=now, release_id=approval.release_id
    )


def _take_back(sink: Sink, verified: Verified, ledger: Ledger) -> Iterator[tuple[list[Promise], list[Outcome]]]:
    approval = verified.approval
    with ledger.reading() as connection:
        promises = find_promises(connection, approval.approval_id, ["delivered"])
    verified.refuse_others(promises)
    if sink.replaces:
        if promises:
            outcomes = sink.recall(*_read_whole(approval, ledger))
            yield promises, outcomes[-len(promises) :]
        return
    size = sink.n_at_once or len(promises)
    for start in range(0, len(promises), size or 1):
        some = promises[start : start + size]
        with ledger.reading() as connection:
            payloads = get_payloads(connection, some)
        yield some, sink.recall(Consignment(approval.release_id, payloads), None)


def _read_whole(approval: Approval, ledger: Ledger) -> tuple[Consignment, Consignment | None]:
    """What the sink holds, and what it held before."""
    with ledger.reading() as connection:
        if not is_last_at_sink(connection, approval):
            raise ApprovalRefused(
                f"{approval.sink} holds a later release than {approval.release_id}. Recall that one first: `overnight"
                " outbox` lists them."
            )
        now = Consignment(approval.release_id, read_whole(connection, approval))
        standing = find_standing(connection, approval)
        earlier = find_approval(connection, approval_id=standing) if standing else None
        if earlier is None:
            return now, None
        return now, Consignment(earlier.release_id, read_whole(connection, earlier))


def _record(approval: Approval, promises: list[Promise], outcomes: list[Outcome], ledger: Ledger) -> None:
    reach("after-recalled")
    now = time.time()
    found = {p: (o.is_delivered, o.detail) for p, o in zip(promises, outcomes, strict=True)}
    ledger.write(lambda connection: settle_recall(connection, approval.approval_id, found, now))
