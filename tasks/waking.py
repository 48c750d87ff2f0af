"""Following provider batches for all runs: what came is recorded, and who waited for it is woken."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger

from overnight.complete import Followed, follow_batches
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.queries import get_run, list_passes, list_runs
from overnight.nights import UNHEARD, is_suspension
from overnight.records import BatchState, ProviderBatch, RunState
from overnight.report.astray import tell_asleep, tell_doubt, tell_unseen
from overnight.settings import Settings
from tasks.batches import is_due
from tasks.board import show_batches
from tasks.notify import find_page, notify_astray
from tasks.watch import get_watching

#: A batch that nobody could look at for so long is told of where that stays so; and one that its provider should have
#: given up so long ago.
_BLIND_S, _OVERDUE_S = 3_600.0, 7_200.0
#: Runs that are looked through, the newest first.
_N_RUNS = 200
#: Ends of a flow run from which nobody takes it up; one that crashed is put back by `watch-nights`.
_GONE = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED)


@dataclass(frozen=True)
class Asleep:
    """A deployed run whose rows are with a provider, and the flow run that worked on it last."""

    run_id: str
    flow: str
    flow_run_id: str


@task(name="follow-provider-batches")
def follow_provider_batches() -> int:
    """Ask providers how far their batches are, record what came, tell people of doubts; how many batches ended."""
    settings = get_watching()
    ledger, logger = open_ledger(settings.ledger_url), get_run_logger()
    followed = follow_batches(ledger, settings)
    for fault in followed.faults:
        logger.warning("%s", fault)
    logger.info("%d provider batches have ended, %d are open.", followed.n_ended, followed.n_open)
    _tell_doubts(ledger, settings)
    _tell_unseen(followed, ledger, settings)
    return followed.n_ended


@task(name="wake-runs")
def wake_runs() -> int:
    """Resume suspended flow runs that have nothing to wait for any more, and show how far all are; how many woke."""
    settings = get_watching()
    ledger = open_ledger(settings.ledger_url)
    with get_client(sync_client=True) as client:
        return sum(_try_to_wake(client, asleep, ledger, settings) for asleep in _list_asleep(ledger))


def _tell_doubts(ledger: Ledger, settings: Settings) -> None:
    # All of them, not those that are newly found: who could not be told the last time is told now.
    for batch in ledger.read(lambda connection: list_batches(connection, states=(BatchState.IN_DOUBT,))):
        notice = tell_doubt(batch, *_find_run(batch, ledger))
        notify_astray(notice, batch.run_id, batch.batch_id, settings, ledger)


def _tell_unseen(followed: Followed, ledger: Ledger, settings: Settings) -> None:
    """Tell of batches that will not be followed to their end unless somebody does something."""
    now, unseen = time.time(), {each.batch.batch_id: each for each in followed.unseen}
    sent = (BatchState.SUBMITTING, BatchState.SUBMITTED)
    for batch in ledger.read(lambda connection: list_batches(connection, states=sent)):
        fault = unseen.get(batch.batch_id)
        seen_at = batch.looked_at or batch.submitted_at or batch.submitting_at or now
        is_blind = fault is not None and fault.is_lasting and now - seen_at > _BLIND_S
        is_overdue = batch.expires_at is not None and now - batch.expires_at > _OVERDUE_S
        if is_blind or is_overdue:
            notice = tell_unseen(batch, fault.line if fault else None, *_find_run(batch, ledger), now=now)
            notify_astray(notice, batch.run_id, batch.batch_id, settings, ledger)


def _find_run(batch: ProviderBatch, ledger: Ledger) -> tuple[str, str | None]:
    """The flow of the batch's run, and the page of who worked on it last."""
    with ledger.reading() as connection:
        flow = get_run(connection, batch.run_id)["flow"]
        return flow, find_page(list_passes(connection, batch.run_id)[-1]["flow_run_id"])


def _list_asleep(ledger: Ledger) -> list[Asleep]:
    with ledger.reading() as connection:
        batched = list_runs(connection, _N_RUNS, states=[RunState.BATCHED])
        last = [(run, list_passes(connection, run["run_id"])[-1]) for run in batched]
    return [Asleep(run["run_id"], run["flow"], p["flow_run_id"]) for run, p in last if p["deployed"]]


def _try_to_wake(client: SyncPrefectClient, asleep: Asleep, ledger: Ledger, settings: Settings) -> bool:
    """Whether it was woken; what Prefect refuses for one run keeps no other asleep."""
    try:
        return _look_after(client, asleep, ledger, settings)
    except (*UNHEARD, PrefectException) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        get_run_logger().warning(
            "Run %s was not looked after: %s. It is tried again at the next poll.", asleep.run_id, said.rstrip(".")
        )
        return False


def _look_after(client: SyncPrefectClient, asleep: Asleep, ledger: Ledger, settings: Settings) -> bool:
    """Whether it was woken."""
    found = _find_flow_run(client, asleep)
    if why := _find_gone(client, found):
        link = find_page(asleep.flow_run_id) if found else None
        notice = tell_asleep(asleep.flow, asleep.run_id, why, link)
        notify_astray(notice, asleep.run_id, asleep.flow_run_id, settings, ledger)
        return False
    if found is None or not _is_asleep(found):
        return False
    # Before its page is written: that may fail, and would keep it asleep.
    is_woken = is_due(asleep.run_id, ledger, settings) and _resume(client, found)
    if not is_woken:
        show_batches(client, asleep.run_id, found.id, ledger)
    return is_woken


def _find_flow_run(client: SyncPrefectClient, asleep: Asleep) -> FlowRun | None:
    try:
        return client.read_flow_run(UUID(asleep.flow_run_id))
    except ObjectNotFound:
        return None


def _find_gone(client: SyncPrefectClient, found: FlowRun | None) -> str | None:
    """Why nobody would go on with its run, where that is so."""
    if found is None:
        return "Prefect does not know its flow run any more"
    if found.state is not None and found.state.type in _GONE:
        return f"its flow run is {found.state_name}"
    # No worker begins the flow run of a deployment that is not there.
    return None if _has_deployment(client, found) else "its deployment was removed"


def _has_deployment(client: SyncPrefectClient, found: FlowRun) -> bool:
    if found.deployment_id is None:
        return False
    try:
        client.read_deployment(found.deployment_id)
    except ObjectNotFound:
        return False
    return True


def _is_asleep(found: FlowRun) -> bool:
    """Whether it waits for batches: what waits for a person, or for whoever suspended it, is theirs to resume."""
    state = found.state
    return state is not None and state.is_paused() and is_suspension(state.state_details.pause_key)


def _resume(client: SyncPrefectClient, found: FlowRun) -> bool:
    answer = client.resume_flow_run(found.id)
    if answer.status == SetStateStatus.ACCEPT:
        return True
    get_run_logger().warning("Flow run %s was not resumed: Prefect says %s.", found.name, answer.status.value)
    return False
