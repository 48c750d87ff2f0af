"""Draining an outbox: rows are taken in hand under a lease, handed to the sink, and settled by what it answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.deliver.verify import Verified, verify
from overnight.failpoints import reach
from overnight.failures import ApprovalRefused, OvernightError, RunHalted
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.leases import Worker
from overnight.ledger.promises import (
    Promise,
    find_earlier_part,
    find_promises,
    find_receipts,
    find_standing,
    get_payloads,
)
from overnight.ledger.senders import claim, settle
from overnight.records import Approval, Payload
from overnight.settings import Settings
from overnight.sinks import Consignment, DeliveryDeferred, DeliveryUnknown, Outcome, Sink


def drain(sink: Sink, verified: Verified, *, ledger: Ledger, settings: Settings) -> None:
    """
    Send what a consumed approval has promised, and settle each row.

    Raises:
        ApprovalRefused: Another process delivers it now; or the outbox holds what may not leave.
        DeliveryHeld: A person has stopped all writing to the sink.
        RunHalted: The sink takes nothing now, or a row is in the hands of another release.
    """
    with ledger.working(settings.lease_s) as worker:
        hand = _Hand(sink, verified, ledger, settings, worker)
        # All of it before any of it.
        verified.refuse_others(hand.list_open())
        while promises := hand.take():
            verified.refuse_others(promises)
            hand.give(promises)
    _refuse_left(verified.approval, ledger)


@dataclass(frozen=True)
class _Hand:
    """One sender with its sink."""

    sink: Sink
    verified: Verified
    ledger: Ledger
    settings: Settings
    worker: Worker

    @property
    def approval(self) -> Approval:
        return self.verified.approval

    def list_open(self) -> list[Promise]:
        """What is promised and not settled."""
        with self.ledger.reading() as connection:
            return find_promises(connection, self.approval.approval_id, ["promised", "sending"])

    def take(self) -> list[Promise]:
        """The next rows, in hand."""

        def job(connection: sa.Connection) -> list[Promise]:
            return claim(
                connection,
                self.approval,
                self.worker,
                n_rows=self.sink.n_at_once,
                is_safe=self.sink.dedupes,
                is_whole=self.sink.replaces,
                is_by_request=self.sink.by_request,
                now=time.time(),
            )

        return self.ledger.write(job)

    def give(self, promises: list[Promise]) -> None:
        """Hand rows over and record what the sink said of each; where none got so far, all stay promised."""
        try:
            handed = self._read(promises)
            reach("before-deliver")
            self._refuse_lapsed()
            outcomes = self.sink.deliver(handed)
        except DeliveryUnknown as error:
            self._leave_unsettled(promises, error)
            return
        except OvernightError as error:
            self._settle(promises, "promised", str(error))
            raise self._halt(error) if isinstance(error, DeliveryDeferred) else error from error
        reach("after-deliver")
        self._settle_each(promises, dict(zip((p.delivery_key for p in handed.payloads), outcomes, strict=True)))
        reach("after-settled")

    def _refuse_lapsed(self) -> None:
        if not self.worker.is_current:
            raise RunHalted(
                f"This process stood still for longer than its lease, and another may deliver release"
                f" {self.approval.release_id} now. `overnight review {self.approval.run_id}` goes on from here."
            )

    def _read(self, promises: list[Promise]) -> Consignment:
        approval = self.approval
        if self.sink.replaces:
            whole = read_whole(self.verified, ledger=self.ledger, settings=self.settings)
            with self.ledger.reading() as connection:
                stands = find_standing(connection, approval) is not None
            return Consignment(approval.release_id, whole, replaces_release=stands)
        with self.ledger.reading() as connection:
            return Consignment(approval.release_id, get_payloads(connection, promises))

    def _leave_unsettled(self, promises: list[Promise], error: DeliveryUnknown) -> None:
        if self.sink.dedupes:
            self._settle(promises, "promised", str(error))
            raise self._halt(error) from error
        self._settle(promises, "unknown", str(error))

    def _halt(self, error: OvernightError) -> RunHalted:
        return RunHalted(
            f"{error} What was not sent stays promised: `overnight review {self.approval.run_id}` goes on from here."
        )

    def _settle(self, promises: Sequence[Promise], state: str, detail: str) -> None:
        self._record({p.position: (state, detail) for p in promises})

    def _settle_each(self, promises: Sequence[Promise], outcomes: Mapping[str, Outcome]) -> None:
        found = {p.position: outcomes[p.delivery_key] for p in promises}
        self._record({at: ("delivered" if o.is_delivered else "failed", o.detail) for at, o in found.items()})

    def _record(self, outcomes: dict[int, tuple[str, str]]) -> None:
        now = time.time()
        self.ledger.write(lambda c: settle(c, self.approval.approval_id, self.worker, outcomes, now))


def read_whole(verified: Verified, *, ledger: Ledger, settings: Settings) -> list[Payload]:
    """
    All rows that a sink holds of a release, where it holds one: each under a signed approval that lets it out.

    Raises:
        ApprovalRefused: A row is not one that its approval lets out.
    """
    approval = verified.approval
    with ledger.reading() as connection:
        first = find_earlier_part(connection, approval)
        own = find_promises(connection, approval.approval_id, ["sending", "delivered", "unknown"])
        others = [find_approval(connection, approval_id=one) for one in dict.fromkeys(p.approval_id for p in first)]
    verified.refuse_others(own)
    for other in others:
        if other is not None:
            its_rows = [p for p in first if p.approval_id == other.approval_id]
            verify(other, ledger=ledger, settings=settings).refuse_others(its_rows)
    with ledger.reading() as connection:
        return get_payloads(connection, [*first, *own])


def _refuse_left(approval: Approval, ledger: Ledger) -> None:
    """Nothing is in this process's hand now: what is left is in another's."""
    with ledger.reading() as connection:
        sending = find_promises(connection, approval.approval_id, ["sending"])
        promised = find_promises(connection, approval.approval_id, ["promised"])
        superseded = find_promises(connection, approval.approval_id, ["superseded"])
        n_rows = len(find_receipts(connection, approval.approval_id))
    if superseded and len(superseded) == n_rows:
        raise ApprovalRefused(
            f"{approval.sink} holds a later release than {approval.release_id}: nothing of it was written."
        )
    if sending:
        raise ApprovalRefused(
            f"Release {approval.release_id} is being delivered by another process now. `overnight runs` says when it is"
            " done."
        )
    if promised:
        raise RunHalted(
            f"{len(promised)} rows of release {approval.release_id}, the first {promised[0].row_id}, are in the hands"
            " of another release, or their fate there is unknown. `overnight outbox` says which; settle or continue"
            f" that one, then `overnight review {approval.run_id}`."
        )
