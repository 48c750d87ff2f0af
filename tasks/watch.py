"""Watching the nights: broken flow runs are put back, and people are told of what nobody else tells them."""

from __future__ import annotations

import time
from uuid import UUID

from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.logging import get_run_logger
from prefect.runtime import deployment

from overnight import only_hosts
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.leases import RENEWED_AT
from overnight.ledger.lives import LastPass, find_last_pass, find_lost
from overnight.ledger.sightings import see_schedules
from overnight.nights import RECENT_S, Broken, Care, Decision, decide, is_expected
from overnight.notices import Notice, refuse_malformed
from overnight.report.astray import tell_broken, tell_late, tell_missing
from overnight.settings import Settings
from tasks.late import find_pool
from tasks.notify import find_page, notify_astray
from tasks.sight import (
    Sighted,
    find_unheard,
    is_crowded,
    list_begun,
    list_crashed,
    list_due,
    list_unbegun,
    put_back,
)


@task(name="put-back-broken")
def put_back_broken() -> int:
    """Put flow runs back whose process ended before they did, tell of those that are not; how many were put back."""
    settings = get_watching()
    ledger = open_ledger(settings.ledger_url)
    with get_client(sync_client=True) as client:
        return sum(_take_care(client, sighted, ledger, settings) for sighted in _find_broken(client, ledger, settings))


@task(name="tell-late")
def tell_late_runs() -> int:
    """Tell people, once each, of flow runs that have not begun in time, and of those that there are not; how many."""
    settings, now = get_watching(), time.time()
    ledger = open_ledger(settings.ledger_url)
    with get_client(sync_client=True) as client:
        found = _find_late(client, settings, now) + _find_missing(client, ledger, settings, now)
    return sum(notify_astray(notice, None, about, settings, ledger) for notice, about in found)


def get_watching() -> Settings:
    """The settings of who looks after runs: it reaches the hosts that they may, and tells people."""
    settings = Settings.from_env()
    only_hosts.install(settings.only_hosts)
    refuse_malformed(settings.notify)
    return settings


def _find_broken(client: SyncPrefectClient, ledger: Ledger, settings: Settings) -> list[Sighted]:
    """What Prefect calls crashed, and what it takes for running although the process is gone."""
    crashed = list_crashed(client, find_pool(), since=time.time() - RECENT_S)
    unheard = [find_unheard(client, lost) for lost in _find_lost(ledger, settings)]
    return crashed + [sighted for sighted in unheard if sighted]


def _find_lost(ledger: Ledger, settings: Settings) -> list[LastPass]:
    found = _list_lost(ledger)
    if all(lost.is_certain for lost in found):
        return found
    # Where the machine or the database was away all leases have lapsed, and those who live renew theirs in a moment.
    time.sleep(settings.lease_s * RENEWED_AT)
    return _list_lost(ledger)


def _list_lost(ledger: Ledger) -> list[LastPass]:
    with ledger.reading() as connection:
        return [lost for lost in find_lost(connection) if lost.deployed]


def _take_care(client: SyncPrefectClient, sighted: Sighted, ledger: Ledger, settings: Settings) -> bool:
    """Whether it was put back."""
    with ledger.reading() as connection:
        last = find_last_pass(connection, sighted.flow_run_id)
    if last is None and not sighted.is_nightly:
        return False
    decision = decide(
        _gather(client, sighted, last), now=time.time(), restarts=settings.restarts, stale_s=settings.stale_s
    )
    if decision.care is Care.RESTART:
        refused = put_back(client, sighted, restarts=settings.restarts)
        decision = decision if refused is None else Decision(Care.TELL, f"Prefect refused: {refused}")
    if decision.care is not Care.LEAVE:
        get_run_logger().warning("Flow run %s: %s, because %s.", sighted.name, decision.care, decision.why)
    if decision.care is Care.TELL:
        _tell_broken(sighted, last, decision.why, ledger, settings)
    return decision.care is Care.RESTART


def _gather(client: SyncPrefectClient, sighted: Sighted, last: LastPass | None) -> Broken:
    return Broken(
        sighted.flow_run_id,
        at=sighted.at,
        due_at=sighted.due_at,
        n_restarts=sighted.n_restarts,
        is_known=sighted.is_known,
        is_lost=sighted.is_lost,
        is_crowded=sighted.is_lost and sighted.is_known and is_crowded(client, sighted),
        run_state=last.state if last else None,
        last_flow_run_id=last.flow_run_id if last else None,
        is_alive=last is not None and not last.is_over,
    )


def _tell_broken(sighted: Sighted, last: LastPass | None, why: str, ledger: Ledger, settings: Settings) -> None:
    run_id = last.run_id if last else None
    kind = "lost" if sighted.is_lost else "crashed"
    link = find_page(sighted.flow_run_id) if sighted.is_known else None
    notify_astray(tell_broken(kind, sighted.flow, run_id, why, link), run_id, sighted.flow_run_id, settings, ledger)


def _find_late(client: SyncPrefectClient, settings: Settings, now: float) -> list[tuple[Notice, str]]:
    """A notice for each deployment of which a flow run waits to begin, and what it is about: the newest."""
    found = list_unbegun(client, find_pool(), before=now - settings.late_s)
    return [
        (
            tell_late(run.flow, run.due_at, run.why, find_page(run.flow_run_id), n_older=run.n_older, now=now),
            run.flow_run_id,
        )
        for run in found
    ]


def _find_missing(
    client: SyncPrefectClient, ledger: Ledger, settings: Settings, now: float
) -> list[tuple[Notice, str]]:
    """A notice for each schedule that made no flow run when it was due last, and what it is about."""
    mine = UUID(deployment.id) if deployment.id else None
    pool = find_pool()
    found = list_due(client, pool, before=now - settings.late_s, spared=mine)
    since = ledger.write(lambda connection: see_schedules(connection, pool, [due.name for due in found], now))
    missing = [
        due
        for due in found
        if is_expected(due.due_at, known_since=since[due.name])
        # Asked only where it matters: most schedules were due since they are known.
        and not list_begun(client, due, now=now)
    ]
    return [(tell_missing(due.deployment, due.due_at or now), f"{due.name}:{due.due_at}") for due in missing]
