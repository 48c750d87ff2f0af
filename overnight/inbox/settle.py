"""Settling: what became of the requests that runs took, so that none is stuck with a run that came to nothing."""

from __future__ import annotations

import logging

from overnight.failures import OvernightError
from overnight.inbox.drain import get_worker
from overnight.intake.inbox import InboxSource
from overnight.ledger import Ledger
from overnight.ledger.inbox_settling import AGAIN, LEFT_OUT, Fate, close, find_fates, list_held, settle
from overnight.ledger.inbox_takes import free_lost, is_waiting, list_holders
from overnight.ledger.manifests import find_latest_batches
from overnight.ledger.queries import get_run
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import RowState, RunState

_log = logging.getLogger("overnight.inbox")


def has_waiting(source: InboxSource, *, ledger: Ledger, place: PartsPlace, lease_s: float, now: float) -> bool:
    """
    Whether a run would find requests; what earlier runs left behind is settled, or free, before it is looked.

    A run that cannot be settled keeps what it has, and stands in nobody's way.
    """
    for run_id in ledger.read(lambda connection: list_holders(connection, source.prompt)):
        settle_if_possible(run_id, ledger=ledger, place=place, lease_s=lease_s, now=now)
    return ledger.read(lambda connection: is_waiting(connection, source.prompt))


def settle_if_possible(run_id: str, *, ledger: Ledger, place: PartsPlace, lease_s: float, now: float) -> None:
    """As `settle_run`; a fault is logged, and whoever settles the run next tries again."""
    try:
        settle_run(run_id, ledger=ledger, place=place, lease_s=lease_s, now=now)
    except OvernightError as error:
        _log.warning("The requests of run %s could not be settled yet: %s", run_id, error)


def settle_run(run_id: str, *, ledger: Ledger, place: PartsPlace, lease_s: float, now: float) -> None:
    """
    Record what became of each request that the run took.

    Where it has offered no release, all are free once it is halted or held, or its process is gone. Where it has: what
    a reviewer held or rejected, or was quarantined, is closed; what nobody answered waits for the next run; what may
    still leave is the run's.

    Args:
        run_id: A run; one that took nothing is left as it is.
        ledger: Where both are recorded.
        place: Where the run's parts are.
        lease_s: As for whoever takes requests.
        now: Seconds since the epoch.

    Raises:
        PartRefused: A part of the run is missing or altered.
    """
    held = ledger.read(lambda connection: list_held(connection, run_id))
    if not held:
        return
    fates = ledger.read(lambda connection: find_fates(connection, run_id))
    if fates is None:
        fates = _find_unoffered(run_id, ledger)
    if fates is None:
        worker = get_worker(ledger, lease_s)
        ledger.write(lambda connection: free_lost(connection, run_id, worker))
        return
    if held.keys() - fates.keys():
        fates = _read_fates(run_id, ledger, place) | fates
    # What is in no batch of the run was taken by a process of it that was killed before it pinned.
    settled = {held[row_id]: fates.get(row_id, AGAIN) for row_id in held}
    ledger.write(lambda connection: settle(connection, run_id, settled, now))


def _find_unoffered(run_id: str, ledger: Ledger) -> dict[str, Fate] | None:
    """A run that ended well has offered nothing where no row came to its last step."""
    with ledger.reading() as connection:
        return {} if get_run(connection, run_id)["state"] == RunState.RELEASED else None


def _read_fates(run_id: str, ledger: Ledger, place: PartsPlace) -> dict[str, Fate]:
    """What became of the rows that the run has not offered, by the last step that each came to."""
    with ledger.reading() as connection:
        latest = find_latest_batches(connection, run_id)
    found: dict[str, Fate] = {}
    for _, batch in sorted(latest.items()):
        rows = read_part(batch.part, place).select(["row_id", "state", "failure_class"]).to_pylist()
        found |= {row["row_id"]: _judge(row["state"], row["failure_class"]) for row in rows}
    return found


def _judge(state: str, failure_class: str | None) -> Fate:
    if state == RowState.PENDING:
        return AGAIN
    return close(f"quarantined: {failure_class}" if state == RowState.QUARANTINED else LEFT_OUT)
