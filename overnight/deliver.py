"""The delivering desk: the only way out. An approval is used up, its rows are promised, and the promises are kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from overnight.failures import ApprovalRefused, RunHalted
from overnight.keys import allowed_digest, delivery_key, digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval, find_held_positions
from overnight.ledger.bodies import get_body
from overnight.ledger.outbox import consume, find_payloads, find_receipts, settle
from overnight.ledger.releases import ReleaseRow, find_release_rows
from overnight.records import Approval, Payload, Receipt
from overnight.settings import Settings
from overnight.sinks import DeliveryFailed, DeliveryUnsure, RowSink, WholeSink, open_sink


def deliver_release(approval: Approval, *, ledger: Ledger, settings: Settings) -> list[Receipt]:
    """
    Send exactly the rows that the approval lets out to exactly the sink that it names.

    The ledger's record of the approval decides, not the object in hand. An approval that
    is "approved" is used up here, once; one that was "consumed" before goes on draining
    what it promised, and sends nothing twice.

    Raises:
        ApprovalRefused: Unknown, expired, used, for another sink, or for other bytes.
        SinkRefused: The sink's address may not be written to.
        RunHalted: The sink does not answer; what was not sent stays promised.
    """
    recorded = _recorded(approval, ledger)
    rows = _allowed_rows(recorded, ledger)
    token = os.environ.get("OVERNIGHT_SINK_TOKEN")
    with contextlib.closing(open_sink(recorded.sink, allow_hosts=settings.allow_hosts, token=token)) as sink:
        if approval.state == "approved":
            _consume(recorded, rows, ledger)
        with _alone(recorded, settings.home):
            if isinstance(sink, WholeSink):
                _write_whole(sink, recorded, rows, ledger)
            else:
                _send_rows(sink, recorded, rows, ledger)
    with ledger.reading() as connection:
        return find_receipts(connection, recorded.approval_id)


def check_sink(uri: str, settings: Settings) -> None:
    """
    Refuse a sink that could not be delivered to, before anything is paid for.

    Raises:
        SinkRefused: Its address is not one that may be written to.
    """
    open_sink(uri, allow_hosts=settings.allow_hosts).close()


@contextlib.contextmanager
def _alone(approval: Approval, home: Path) -> Iterator[None]:
    """One drain of an approval at a time; the lock ends with its process, however that ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / f".deliver-{approval.approval_id}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ApprovalRefused(
                f"Release {approval.release_id} is being delivered by another process now. `overnight runs` says when"
                " it is done."
            ) from None
        yield


def _recorded(approval: Approval, ledger: Ledger) -> Approval:
    with ledger.reading() as connection:
        recorded = find_approval(connection, approval_id=approval.approval_id)
    if recorded is None:
        raise ApprovalRefused(
            f"Approval {approval.approval_id[:12]} of release {approval.release_id} is not in the ledger."
            f" Review run {approval.run_id}."
        )
    if recorded.sink != approval.sink:
        raise ApprovalRefused(
            f"Release {recorded.release_id} was approved for sink {recorded.sink!r} but is being delivered to"
            f" {approval.sink!r}. Ask for a new approval, or deliver to {recorded.sink!r}."
        )
    if (recorded.release_digest, recorded.allowed_digest) != (approval.release_digest, approval.allowed_digest):
        raise ApprovalRefused(
            f"Approval {recorded.approval_id[:12]} covers other rows than these. Ask for a new approval."
        )
    return recorded


def _allowed_rows(approval: Approval, ledger: Ledger) -> list[ReleaseRow]:
    """The rows that may leave, after their bytes have been read and digested once more."""
    with ledger.reading() as connection:
        held = find_held_positions(connection, approval.approval_id)
        rows = [r for r in find_release_rows(connection, approval.release_id) if r.position not in held]
        digests = [digest_bytes(get_body(connection, r.payload)) for r in rows]
    # The keys are made anew: they hold the sink, so that an edited address does not fit them.
    keys = [delivery_key(approval.sink, r.row_id, digest) for r, digest in zip(rows, digests, strict=True)]
    is_intact = keys == [r.delivery_key for r in rows]
    if not is_intact or allowed_digest(zip(keys, digests, strict=True)) != approval.allowed_digest:
        raise ApprovalRefused(
            f"A row of release {approval.release_id} was changed after its approval. Nothing was sent: run it again."
        )
    return rows


def _consume(approval: Approval, rows: Sequence[ReleaseRow], ledger: Ledger) -> None:
    now = time.time()
    if ledger.write(lambda connection: consume(connection, approval.approval_id, rows, now)):
        return
    # What was used up stays so: one that nobody has used is over, by whichever clock.
    if _recorded(approval, ledger).state == "approved":
        raise ApprovalRefused(
            f"The approval of release {approval.release_id} expired at {approval.expires_at:%Y-%m-%d %H:%M} UTC."
            " Run the flow again (no call is made) and review it."
        )
    raise ApprovalRefused(
        f"The approval of release {approval.release_id} has been used already. One approval delivers once: see"
        f" `overnight runs` for what became of run {approval.run_id}."
    )


def _write_whole(sink: WholeSink, approval: Approval, rows: Sequence[ReleaseRow], ledger: Ledger) -> None:
    """The whole release in one write, rows that an earlier approval delivered too: the file is this release."""
    if not _find_payloads(approval, rows, ["promised", "earlier"], ledger):
        return
    if _find_payloads(approval, rows, ["superseded"], ledger):
        raise ApprovalRefused(
            f"A later release holds rows of release {approval.release_id}, and {approval.sink} is the later one's."
            " Nothing was written."
        )
    payloads = _find_payloads(approval, rows, ["promised", "earlier", "delivered"], ledger)
    detail = sink.write(payload for _, payload in payloads)
    _settle(ledger, approval, [position for position, _ in payloads], "delivered", detail)


def _send_rows(sink: RowSink, approval: Approval, rows: Sequence[ReleaseRow], ledger: Ledger) -> None:
    for position, payload in _find_payloads(approval, rows, ["promised"], ledger):
        _send(sink, position, payload, approval, ledger)


def _find_payloads(
    approval: Approval, rows: Sequence[ReleaseRow], states: Sequence[str], ledger: Ledger
) -> list[tuple[int, Payload]]:
    """What the outbox holds of the approval, after each entry has been held against the rows that may leave."""
    with ledger.reading() as connection:
        found = find_payloads(connection, approval.approval_id, states)
    allowed = {r.position: (r.delivery_key, r.payload) for r in rows}
    if any(allowed.get(position) != (payload.delivery_key, payload.digest) for position, payload in found):
        raise ApprovalRefused(
            f"The outbox holds a row of release {approval.release_id} that its approval does not let out. Nothing was"
            " sent: run the flow again and review it."
        )
    return found


def _send(sink: RowSink, position: int, payload: Payload, approval: Approval, ledger: Ledger) -> None:
    try:
        detail = sink.send(payload)
    except DeliveryFailed as error:
        _settle(ledger, approval, [position], "failed", str(error))
    except DeliveryUnsure as error:
        raise RunHalted(
            f"{error} What was not sent stays promised: `overnight review {approval.run_id}` goes on from here."
        ) from error
    else:
        _settle(ledger, approval, [position], "delivered", detail)


def _settle(ledger: Ledger, approval: Approval, positions: list[int], state: str, detail: str) -> None:
    now = time.time()
    ledger.write(
        lambda connection: settle(connection, approval.approval_id, positions, state=state, detail=detail, now=now)
    )
