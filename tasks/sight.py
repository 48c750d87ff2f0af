"""What Prefect's server says of flow runs that did not go as planned, and putting one back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas import schedules as firing
from prefect.states import AwaitingRetry, Crashed

from overnight.keys import digest_bytes
from overnight.ledger.lives import LastPass
from tasks.late import as_moment

#: The tag of deployments whose runs are nights.
NIGHTLY = "nightly"
#: How the message of a state begins in which a flow run was put back: they are counted.
_PUT_BACK = "Put back "
_WAITS = {
    "AwaitingConcurrencySlot": "an earlier run of its deployment still works",
    "Pending": "a worker took it and has not begun it",
}
#: How far back to look for when a schedule was due last: Prefect gives at most a thousand times at once.
_LOOK_BACK = tuple(timedelta(**span) for span in ({"hours": 2}, {"days": 2}, {"days": 32}, {"days": 366}))
_FIRING: dict[type, Any] = {
    CronSchedule: firing.CronSchedule,
    IntervalSchedule: firing.IntervalSchedule,
    RRuleSchedule: firing.RRuleSchedule,
}


@dataclass(frozen=True)
class Sighted:
    """A flow run that is broken, or seems so."""

    flow_run_id: str
    name: str
    flow: str
    #: When it broke, as far as anybody knows, and when it was to begin.
    at: float
    due_at: float
    is_nightly: bool = True
    n_restarts: int = 0
    deployment_id: UUID | None = None
    #: Whether Prefect takes it for running; None where it has an opinion of its own, or knows none.
    is_lost: bool = False
    is_known: bool = True


@dataclass(frozen=True)
class Unbegun:
    """A flow run that should have begun, and why it has not."""

    flow_run_id: str
    flow: str
    due_at: float
    why: str
    #: How many older ones of its deployment have not begun either.
    n_older: int = 0


@dataclass(frozen=True)
class Due:
    """A schedule that is active: when it should have made a flow run last."""

    #: The deployment, the times and the zone: a schedule that is changed is another.
    name: str
    deployment: str
    deployment_id: UUID
    due_at: float | None


def list_crashed(client: SyncPrefectClient, pool: str | None, *, since: float) -> list[Sighted]:
    """The flow runs of deployments that crashed since then."""
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
        end_time=FlowRunFilterEndTime(after_=as_moment(since)),
    )
    found = client.read_flow_runs(flow_run_filter=wanted, work_pool_filter=_in_pool(pool))
    return [_describe(client, run) for run in found if run.deployment_id]


def find_unheard(client: SyncPrefectClient, lost: LastPass) -> Sighted | None:
    """The flow run of a pass whose process is gone, where Prefect takes it for running or does not know it."""
    try:
        run = client.read_flow_run(UUID(lost.flow_run_id))
    except ObjectNotFound:
        at = lost.started_at
        return Sighted(lost.flow_run_id, lost.run_id, lost.flow, at, at, is_lost=True, is_known=False)
    is_running = run.state is not None and run.state.type == StateType.RUNNING
    return _describe(client, run, is_lost=True) if is_running else None


def is_crowded(client: SyncPrefectClient, sighted: Sighted) -> bool:
    """Whether another flow run of its deployment works."""
    works = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=works), deployment_filter=_of_deployment(sighted.deployment_id)
    )
    return any(str(run.id) != sighted.flow_run_id for run in found)


def put_back(client: SyncPrefectClient, sighted: Sighted, *, restarts: int) -> str | None:
    """
    Have a worker begin the flow run once more, as the same one: it continues its run.

    Args:
        client: Prefect's.
        sighted: The flow run.
        restarts: How often one is put back.

    Returns:
        Why Prefect refused, where it did.
    """
    flow_run_id, why = UUID(sighted.flow_run_id), "its process ended before it did"
    states: list[State[Any]] = [
        AwaitingRetry(message=f"{_PUT_BACK}{sighted.n_restarts + 1} of {restarts} times: {why}.")
    ]
    if sighted.is_lost:
        # So that its slot is given back: a running one keeps it.
        states.insert(0, Crashed(message="Its process is gone, and nobody told Prefect: the ledger says so."))
    for proposed in states:
        result: Any = client.set_flow_run_state(flow_run_id, proposed)
        if result.status != SetStateStatus.ACCEPT:
            return str(getattr(result.details, "reason", None) or result.status.value)
    return None


def list_unbegun(client: SyncPrefectClient, pool: str | None, *, before: float) -> list[Unbegun]:
    """Of each deployment the newest flow run that should have begun before then, where some never have."""
    waits = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING]))
    wanted = FlowRunFilter(state=waits, expected_start_time=FlowRunFilterExpectedStartTime(before_=as_moment(before)))
    found: dict[UUID, list[FlowRun]] = {}
    for run in client.read_flow_runs(flow_run_filter=wanted, work_pool_filter=_in_pool(pool)):
        if run.deployment_id and not run.run_count and run.state_name != "AwaitingRetry":
            found.setdefault(run.deployment_id, []).append(run)
    return [_describe_unbegun(client, runs) for runs in found.values()]


def _describe_unbegun(client: SyncPrefectClient, runs: Sequence[FlowRun]) -> Unbegun:
    # After an outage there is a queue, of which the newest alone begins: it stands for all.
    run = max(runs, key=_due_at)
    why = _WAITS.get(run.state_name or "", "no worker took it")
    return Unbegun(str(run.id), _name_flow(client, run), _due_at(run), why, len(runs) - 1)


def list_due(client: SyncPrefectClient, pool: str | None, *, before: float, spared: UUID | None) -> list[Due]:
    """The active schedules, each with when it was due last before then; without those of one deployment."""
    return [
        Due(
            f"{deployment.id}:{digest_bytes(repr(schedule.schedule).encode())[:16]}",
            f"{client.read_flow(deployment.flow_id).name}/{deployment.name}",
            deployment.id,
            _find_last(schedule.schedule, before),
        )
        for deployment in client.read_deployments(work_pool_filter=_in_pool(pool))
        if deployment.id != spared and not deployment.paused
        for schedule in deployment.schedules
        if schedule.active
    ]


def list_begun(client: SyncPrefectClient, due: Due, *, now: float) -> list[float]:
    """When the flow runs of a deployment were to begin, from when it was due to now."""
    since = as_moment((due.due_at or now) - 1)
    wanted = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=since, before_=as_moment(now)))
    found = client.read_flow_runs(flow_run_filter=wanted, deployment_filter=_of_deployment(due.deployment_id))
    return [_due_at(run) for run in found]


def _find_last(schedule: Any, before: float) -> float | None:
    fires = _FIRING.get(type(schedule))
    if fires is None:
        return None
    given = fires.model_validate(schedule.model_dump())
    for span in _LOOK_BACK:
        if dates := asyncio.run(given.get_dates(start=as_moment(before) - span, end=as_moment(before))):
            return float(dates[-1].timestamp())
    return None


def _describe(client: SyncPrefectClient, run: FlowRun, *, is_lost: bool = False) -> Sighted:
    states: list[Any] = client.read_flow_run_states(run.id)
    return Sighted(
        str(run.id),
        run.name,
        _name_flow(client, run),
        at=run.state.timestamp.timestamp() if run.state else _due_at(run),
        due_at=_due_at(run),
        is_nightly=NIGHTLY in run.tags,
        n_restarts=sum((state.message or "").startswith(_PUT_BACK) for state in states),
        deployment_id=run.deployment_id,
        is_lost=is_lost,
    )


def _due_at(run: FlowRun) -> float:
    at = run.expected_start_time or run.created
    return at.timestamp() if at else 0.0


def _name_flow(client: SyncPrefectClient, run: FlowRun) -> str:
    return str(client.read_flow(run.flow_id).name)


def _in_pool(pool: str | None) -> WorkPoolFilter | None:
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])) if pool else None


def _of_deployment(deployment_id: UUID | None) -> DeploymentFilter | None:
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])) if deployment_id else None
