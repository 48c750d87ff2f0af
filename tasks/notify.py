"""Being told, from the flow's own code: that a run waits, soon waits no more, or ended where somebody has to look."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from overnight.failures import OvernightError
from overnight.keys import digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.notices import Waiting, list_waiting, name_round, record_told, was_told
from overnight.ledger.reviews import find_last_answer
from overnight.ledger.sightings import record_told_of, was_told_of
from overnight.notices import Notice, tell_people
from overnight.records import Release, RunState
from overnight.report.astray import tell_skipped
from overnight.report.notices import tell_end, tell_over, tell_soon, tell_waiting
from overnight.settings import Settings
from tasks.run import Run

#: People are told again when this much of the time to wait is left: of all of it, or in seconds, whichever is less.
_LAST_SHARE = 0.25
_LAST_S = 86_400.0


def notify_waiting(release: Release, run: Run) -> None:
    """Tell people that the release waits, once a round."""
    with run.ledger.reading() as connection:
        last = find_last_answer(connection, release.release_id)
    outcome = last.outcome if last else None
    notice = tell_waiting(release, run.flow, since=time.time(), outcome=outcome, link=find_page(flow_run.id))
    _tell_once(notice, run.run_id, name_round(release), run.settings.notify, run.ledger, now=time.time())


def notify_end(run: Run, state: RunState, error: Exception) -> None:
    """
    Tell people that the run is held or has halted, once for each reason; by hand somebody stands there and reads it.

    What nobody foresaw is told by its kind alone: its words may be those of a row.
    """
    if not run.deployed and not run.settings.wait:
        return
    reason = (
        str(error) if isinstance(error, OvernightError) else f"unforeseen, {type(error).__name__}. Its log says it."
    )
    notice = tell_end(state.value, run.run_id, run.flow, reason, find_page(flow_run.id))
    about = digest_bytes(reason.encode())[:16]
    _tell_once(notice, run.run_id, about, run.settings.notify, run.ledger, now=time.time())


def notify_unopened(flow: str, error: OvernightError, *, deployed: bool) -> None:
    """Tell people that no run could be opened; where the settings themselves are at fault, nobody is known to tell."""
    try:
        urls = Settings.from_env().notify if deployed else ()
    except OvernightError:
        return
    _tell(tell_end("halted", None, flow, str(error), find_page(flow_run.id)), urls)


def notify_late(settings: Settings, ledger: Ledger, now: float) -> int:
    """
    Tell people of each run that soon waits no more, or has stopped waiting, once a round; how many were told of.

    Args:
        settings: Whom to tell.
        ledger: Where the runs are.
        now: Seconds since the epoch.
    """
    with ledger.reading() as connection:
        waiting = list_waiting(connection)
    due = [(w, notice) for w in waiting if (notice := _find_due(w, now))]
    told = [
        _tell_once(notice, w.release.run_id, name_round(w.release), settings.notify, ledger, now=now)
        for w, notice in due
    ]
    return sum(told)


def _find_due(waiting: Waiting, now: float) -> Notice | None:
    until, since, link = waiting.until, waiting.since, find_page(waiting.flow_run_id)
    if until is None or now < until - min(_LAST_S, _LAST_SHARE * (until - since)):
        return None
    if now >= until:
        return tell_over(waiting.release, waiting.flow, since=since, link=link)
    return tell_soon(waiting.release, waiting.flow, since=since, until=until, now=now, link=link)


def notify_skipped(flow: str, scheduled_at: float, reason: str, settings: Settings, ledger: Ledger) -> str:
    """Tell people, once, that a scheduled flow run did not begin; the line that says so."""
    notice = tell_skipped(flow, scheduled_at, reason, find_page(flow_run.id))
    notify_astray(notice, None, flow_run.id or f"{flow}:{scheduled_at}", settings, ledger)
    return notice.lines[0]


def notify_astray(notice: Notice, run_id: str | None, about: str, settings: Settings, ledger: Ledger) -> bool:
    """Tell people, once, of a run that did not go as planned; whether they were told now."""
    now = time.time()
    if run_id is not None:
        return _tell_once(notice, run_id, about, settings.notify, ledger, now=now)
    with ledger.reading() as connection:
        if was_told_of(connection, notice.kind, about):
            return False
    if not _tell(notice, settings.notify):
        return False
    ledger.write(lambda connection: record_told_of(connection, notice.kind, about, now))
    return True


def _tell_once(notice: Notice, run_id: str, about: str, urls: Sequence[str], ledger: Ledger, *, now: float) -> bool:
    """Whether people were told now. It is recorded afterwards: better twice than never."""
    with ledger.reading() as connection:
        if was_told(connection, run_id, notice.kind, about):
            return False
    if not _tell(notice, urls):
        return False
    ledger.write(lambda connection: record_told(connection, run_id, notice.kind, about, now))
    return True


def _tell(notice: Notice, urls: Sequence[str]) -> bool:
    """Whether anybody was reached."""
    told = tell_people(notice, urls)
    warn: Callable[[str], None] = get_run_logger().warning
    for line in told.warnings:
        warn(line)
    return told.n_reached > 0


def find_page(flow_run_id: str | None) -> str | None:
    """The flow run's page in Prefect's UI."""
    return url_for("flow-run", obj_id=flow_run_id) if flow_run_id else None
