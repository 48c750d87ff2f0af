"""A run and its retries at one sink: each row is one run's to release, and no release takes another's place."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from overnight.failures import ApprovalRefused
from overnight.intake.inbox import parse_inbox
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.inbox_takes import list_taken_over, lock_run
from overnight.ledger.promises import find_last_at_sink, find_promises, list_continued
from overnight.ledger.releases import find_release, get_release
from overnight.ledger.retries import find_taken, list_family, lock_family
from overnight.ledger.reviews import find_last_answer
from overnight.ledger.runs import find_source
from overnight.ledger.sinks import lock_sink
from overnight.records import Release, RunState, SinkFacts

_CLOSED = {RunState.HELD, RunState.REJECTED}
#: Rows that a message names.
_N_NAMED = 3


def find_continued(ledger: Ledger, of_run: str, sink: SinkFacts, *, run_id: str | None = None) -> str | None:
    """
    The release that a retry's rows join at the sink; None where they stand there by themselves.

    Args:
        ledger: Where releases are recorded.
        of_run: The run whose quarantined rows are retried.
        sink: Where they would go.
        run_id: The retry, where it has begun.

    Raises:
        ApprovalRefused: The sink holds one release, and that one would be lost, or would take these rows' place.
    """
    if sink.operation != "replace":
        return None
    with ledger.reading() as connection:
        family = list_family(connection, of_run)
        _refuse_open(connection, [one for one in family if one != run_id], sink.name)
        last = find_last_at_sink(connection, sink.name)
        if last is None or get_release(connection, last).run_id in family:
            return last
    raise ApprovalRefused(
        f"{sink.name} holds release {last}, which is not of run {of_run}, and the retried rows would take its place."
        " Give them another --sink."
    )


def find_retried_before(ledger: Ledger, run_id: str, sink: SinkFacts) -> str | None:
    """
    The release of a retry that left before the run's own, which joins it at the sink; None where there is none.

    Then the run's release takes the place of whatever is there.

    Raises:
        ApprovalRefused: A retry's release is still to be delivered there: one would take the other's place.
    """
    if sink.operation != "replace":
        return None
    with ledger.reading() as connection:
        retries = [one for one in list_family(connection, run_id) if one != run_id]
        _refuse_open(connection, retries, sink.name)
        last = find_last_at_sink(connection, sink.name)
        return last if last and get_release(connection, last).run_id in retries else None


def refuse_kin(
    connection: sa.Connection, release: Release, row_ids: Sequence[str], *, prompt: str, held_of: str | None
) -> None:
    """
    Refuse what another run of the family has offered meanwhile, or would be lost with at the sink.

    For the transaction that records the release: nobody else of the family offers anything until it ends.

    Raises:
        ApprovalRefused: So it is; nothing was recorded.
    """
    others = [one for one in lock_family(connection, release.run_id) if one != release.run_id]
    if not others:
        return
    taken = find_taken(connection, release.run_id, prompt=prompt, sink=release.sink)
    if twice := [row_id for row_id in row_ids if row_id in taken]:
        more = f" and {len(twice) - _N_NAMED:,} more" if len(twice) > _N_NAMED else ""
        raise ApprovalRefused(
            f"Rows {', '.join(twice[:_N_NAMED])}{more} of run {release.run_id} were offered by run {taken[twice[0]]}"
            " meanwhile, and a row leaves once. Run the flow again: it leaves them to that run, and makes no call."
        )
    if release.operation == "replace":
        lock_sink(connection, release.sink)
        _refuse_open(connection, others, release.sink)
        last = find_last_at_sink(connection, release.sink)
        chain = [*list_continued(connection, held_of), held_of] if held_of else []
        if last and last not in chain and get_release(connection, last).run_id in others:
            raise ApprovalRefused(
                f"{release.sink} holds release {last} since, whose rows these would take the place of. Run the flow"
                f" again: where it can, it joins them. Or give run {release.run_id} another --sink."
            )


def refuse_lost(connection: sa.Connection, run_id: str, row_ids: Sequence[str]) -> None:
    """
    Refuse rows whose requests another run has taken over from the inbox meanwhile.

    For the transaction that records the release: what is the run's then stays its own.

    Raises:
        ApprovalRefused: So it is; nothing was recorded.
    """
    if parse_inbox(find_source(connection, run_id) or "") is None:
        return
    lock_run(connection, run_id)
    if lost := list_taken_over(connection, run_id, row_ids):
        raise ApprovalRefused(
            f"The requests of {len(lost):,} rows of run {run_id}, the first {lost[0]}, were taken over by another run"
            " meanwhile, and each is answered once. Run the flow again: it leaves them to that run, and makes no call."
        )


def _refuse_open(connection: sa.Connection, run_ids: Sequence[str], sink: str) -> None:
    """What one of these runs still has to deliver there, and what is offered now, could not both stay there."""
    for run_id in run_ids:
        release = find_release(connection, run_id, sink)
        if release and _is_open(connection, release):
            raise ApprovalRefused(
                f"Release {release.release_id} of run {run_id} is still to be delivered to {sink}, and one of the two"
                f" would take the other's place. First `overnight review {run_id}`, or give these rows another --sink."
            )


def _is_open(connection: sa.Connection, release: Release) -> bool:
    last = find_last_answer(connection, release.release_id)
    if last and last.outcome in _CLOSED:
        return False
    approval = find_approval(connection, release_id=release.release_id)
    open_states = ["promised", "sending", "unknown"]
    return (
        approval is None
        or approval.state == "approved"
        or bool(find_promises(connection, approval.approval_id, open_states))
    )
