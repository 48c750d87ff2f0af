"""Whether somebody follows provider batches and resumes who waits for them: a deployment of `follow-batches`."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from overnight.entrypoints import has_code
from overnight.report.astray import tell_unfollowed
from tasks.notify import find_page, notify_astray
from tasks.run import Run

_FLOW = "follow-batches"


def find_no_follower(client: SyncPrefectClient) -> str | None:
    """Why nobody would resume a suspended run, where that is so."""
    wanted = FlowFilter(name=FlowFilterName(any_=[_FLOW]))
    found = client.read_deployments(flow_filter=wanted)
    if not found:
        return f"Prefect has no deployment of the flow {_FLOW}"
    awake = [d for d in found if not d.paused and any(schedule.active for schedule in d.schedules)]
    if not awake:
        return f"the schedule of {_FLOW}/{found[0].name} is paused"
    if not any(has_code(deployment.entrypoint or "") for deployment in awake):
        return f"there is no {awake[0].entrypoint}, which {_FLOW}/{awake[0].name} begins"
    return None


def warn_of_no_follower(run: Run) -> bool:
    """Whether nobody would resume the run; it says so in its log, and people are told once."""
    with get_client(sync_client=True) as client:
        why = find_no_follower(client)
    if why is None:
        return False
    notice = tell_unfollowed(run.flow, run.run_id, why, find_page(flow_run.id))
    get_run_logger().warning(" ".join(notice.lines))
    notify_astray(notice, run.run_id, _FLOW, run.settings, run.ledger)
    return True
