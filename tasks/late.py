"""The staleness guard: a scheduled flow run that would begin a new run too late ends at once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from overnight import only_hosts
from overnight.ledger import open_ledger
from overnight.ledger.runs import find_run_of
from overnight.nights import Beginning, find_lateness, find_skip
from overnight.settings import Settings
from tasks.notify import notify_skipped

#: A flow run that begins within this of its time has nothing behind it in a queue worth looking for.
_PUNCTUAL_S = 60.0


def skip_stale(flow: str) -> str | None:
    """The line of a flow run that is skipped, of which people are told; None where it begins."""
    scheduled_at = find_scheduled_at()
    mine = _find_flow_run()
    if scheduled_at is None or mine is None:
        return None
    settings, now = Settings.from_env(), time.time()
    ledger = open_ledger(settings.ledger_url)
    with ledger.reading() as connection:
        is_known = find_run_of(connection, str(mine.id)) is not None
    beginning = Beginning(scheduled_at, is_known, mine.run_count)
    if find_lateness(beginning, now) > _PUNCTUAL_S:
        beginning = Beginning(scheduled_at, is_known, mine.run_count, _find_newer(mine, now))
    skip = find_skip(beginning, now, settings.stale_s)
    if skip is None:
        return None
    only_hosts.install(settings.only_hosts)
    line = notify_skipped(flow, scheduled_at, skip, settings, ledger)
    get_run_logger().warning(line)
    return line


def find_scheduled_at() -> float | None:
    """When its schedule meant the flow run to begin; None where somebody started it."""
    mine = _find_flow_run()
    if mine is None or not mine.auto_scheduled or mine.expected_start_time is None:
        return None
    # Not the state's time: that moves on while the flow run waits for the one before it to end.
    return mine.expected_start_time.timestamp()


def find_pool() -> str | None:
    """The work pool that the flow run was taken from; None where it runs by hand."""
    mine = _find_flow_run()
    return mine.work_pool_name if mine else None


def as_moment(at: float) -> Any:
    """Seconds since the epoch as a filter of Prefect's takes them: its own type is pendulum's or Python's."""
    return datetime.fromtimestamp(at, UTC)


def _find_flow_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None


def _find_newer(mine: FlowRun, now: float) -> float | None:
    """When the newest flow run was due that the same deployment's schedule made and that has not begun."""
    if mine.deployment_id is None:
        return None
    due = FlowRunFilterExpectedStartTime(after_=mine.expected_start_time, before_=as_moment(now))
    waits = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    with get_client(sync_client=True) as client:
        found: list[Any] = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(expected_start_time=due, state=waits),
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[mine.deployment_id])),
        )
    times = [run.expected_start_time.timestamp() for run in found if run.auto_scheduled and run.id != mine.id]
    return max(times, default=None)
