"""Late, killed and missing runs, as the server of Prefect has them; the worker is this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Pending, Running

from flows.route_banking_query import route_banking_query
from flows.watch_nights import watch_nights
from overnight.complete import get_engine
from overnight.ledger.lives import find_lost
from overnight.ledger.runs import open_pass, set_state
from overnight.ledger.sightings import see_schedules
from overnight.records import RunState
from overnight.settings import Settings
from tests.fakes.killed import register_killed
from tests.fakes.people import People
from tests.fakes.provider import answer_by_schema
from tests.flows.conftest import QUERIES, Project, list_runs_of


@pytest.fixture
def deployment(client: SyncPrefectClient, project: Project) -> Iterator[UUID]:
    """The night's flow, due each day at this minute of the hour before."""
    at = datetime.now(UTC) - timedelta(hours=1)
    schedule = CronSchedule(cron=f"{at.minute} {at.hour} * * *", timezone="UTC")
    made = client.create_deployment(
        flow_id=client.create_flow(route_banking_query),
        name="nightly",
        tags=["nightly"],
        parameters={"source": "queries.csv", "model": "openai:gpt-fake", "sink": f"file:{project.out}"},
        schedules=[DeploymentScheduleCreate(schedule=schedule, active=True)],
    )
    yield made
    for run in list_runs_of(client, made):
        client.delete_flow_run(run.id)
    client.request("DELETE", "/deployments/{id}", path_params={"id": made})


def _let_fire(client: SyncPrefectClient, deployment: UUID, *, days_ago: int = 0) -> FlowRun:
    """The flow run that the schedule makes for its last time, or one so many days before."""
    start = datetime.now(UTC) - timedelta(days=days_ago, hours=2)
    body = {"start_time": start.isoformat(), "min_runs": 1, "max_runs": 1}
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json=body)
    found = [run for run in list_runs_of(client, deployment) if run.auto_scheduled]
    return min(found, key=lambda run: str(run.expected_start_time))


def _begin(run: FlowRun) -> Any:
    """Begin it as a worker does; None where it is suspended at its gate."""
    try:
        return run_flow(route_banking_query, flow_run=run, parameters=run.parameters, return_type="state")
    except Pause:
        return None


def _kill(client: SyncPrefectClient, project: Project, run: FlowRun, *, is_heard: bool) -> None:
    """Have the flow run as a process leaves it that opened its run and was killed."""
    worker_id = register_killed(project.ledger)
    facts: dict[str, Any] = {"flow": "route-banking-query", "parameters": run.parameters, "deployed": True}
    project.ledger.write(
        lambda c: open_pass(c, run_id="night-1", flow_run_id=str(run.id), now=time.time(), worker_id=worker_id, **facts)
    )
    states: list[State[Any]] = [Pending(), Running(), *([Crashed()] if is_heard else [])]
    for state in states:
        client.set_flow_run_state(run.id, state)


def _read_state(client: SyncPrefectClient, run: FlowRun) -> str:
    return str(client.read_flow_run(run.id).state_name)


def test_a_scheduled_run_that_would_begin_too_late_is_skipped_and_told(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_STALE_S", "1800")
    state = _begin(_let_fire(client, deployment))
    assert (state.type.value, state.name, project.fake.calls) == ("COMPLETED", "Skipped", [])
    assert "was to begin at" in state.message
    assert "OVERNIGHT_STALE_S" in state.message
    assert project.ledger.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM runs").scalar()) == 0
    assert people.titles == ["Flow route-banking-query was skipped"]


def test_of_a_queue_of_late_runs_people_are_told_of_the_newest(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    newest = _let_fire(client, deployment)
    for days_ago in (1, 2):
        _let_fire(client, deployment, days_ago=days_ago)
    watch_nights()
    watch_nights()
    assert people.titles == ["Flow route-banking-query is late"]
    assert f"{newest.expected_start_time:%Y-%m-%d %H:%M} UTC" in people.notices[0]["message"]
    assert "2 older runs of it have not begun either." in people.notices[0]["message"]


def test_of_a_queue_of_late_runs_only_the_newest_begins(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_STALE_S", "360000")
    _let_fire(client, deployment)
    older = _let_fire(client, deployment, days_ago=1)
    state = _begin(older)
    assert state.name == "Skipped"
    assert "the next one is due already" in state.message


def test_a_run_that_somebody_starts_is_never_too_late(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_STALE_S", "1")
    run = client.create_flow_run_from_deployment(deployment)
    time.sleep(1.2)
    _begin(run)
    assert len(project.fake.calls) == len(QUERIES)


@pytest.mark.parametrize("is_heard", [True, False], ids=["crashed", "lost"])
def test_a_killed_run_is_put_back_and_goes_on_as_the_same_run(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID, is_heard: bool
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_STALE_S", "1800")
    run = _let_fire(client, deployment)
    _kill(client, project, run, is_heard=is_heard)
    assert watch_nights() == 1
    put_back = client.read_flow_run(run.id)
    assert put_back.state is not None
    assert (put_back.state_name, put_back.state.message) == (
        "AwaitingRetry",
        "Put back 1 of 2 times: its process ended before it did.",
    )
    assert watch_nights() == 0
    # It is an hour late, and continues what it has begun all the same.
    _begin(put_back)
    assert len(project.fake.calls) == len(QUERIES)
    with project.ledger.reading() as connection:
        assert find_lost(connection) == []
    assert "Run night-1 has crashed" not in people.titles


def test_a_run_is_put_back_so_often_and_people_are_told_once(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_RESTARTS", "1")
    run = _let_fire(client, deployment)
    for put_back in (1, 0, 0):
        if _read_state(client, run) != "Crashed":
            _kill(client, project, run, is_heard=True)
        assert watch_nights() == put_back
    assert _read_state(client, run) == "Crashed"
    assert people.titles == ["Run night-1 has crashed"]
    assert "OVERNIGHT_RESTARTS" in people.notices[0]["message"]


def test_a_run_that_was_released_or_continued_elsewhere_is_left(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = _let_fire(client, deployment)
    _kill(client, project, run, is_heard=True)
    project.ledger.write(lambda c: set_state(c, "night-1", RunState.RELEASED))
    assert (watch_nights(), _read_state(client, run), people.titles) == (0, "Crashed", [])


def test_a_run_that_prefect_does_not_know_is_told_as_lost(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = _let_fire(client, deployment)
    _kill(client, project, run, is_heard=False)
    client.delete_flow_run(run.id)
    assert (watch_nights(), watch_nights()) == (0, 0)
    assert people.titles == ["Run night-1 is lost"]


def test_late_and_missing_runs_are_told_once(
    project: Project, people: People, client: SyncPrefectClient, deployment: UUID
) -> None:
    run = _let_fire(client, deployment)
    watch_nights()
    watch_nights()
    assert people.titles == ["Flow route-banking-query is late"]
    client.delete_flow_run(run.id)
    # It was due before anybody had seen the schedule.
    watch_nights()
    assert len(people.titles) == 1
    name = project.ledger.read(
        lambda c: c.exec_driver_sql("SELECT name FROM meta WHERE name LIKE 'schedule:%'").scalar()
    )
    for names, at in (([], 0.0), ([str(name).removeprefix("schedule:/")], time.time() - 7200)):
        project.ledger.write(lambda c, n=names, t=at: see_schedules(c, None, n, t))  # type: ignore[misc]
    watch_nights()
    watch_nights()
    assert people.titles[1:] == ["route-banking-query/nightly did not run"]


def test_a_run_halts_at_its_limit_after_the_calls_in_flight(project: Project) -> None:
    project.monkeypatch.setenv("OVERNIGHT_CONCURRENCY", "1")
    project.monkeypatch.setenv("OVERNIGHT_NIGHT_S", "3")

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        # Answered only when the limit was reached.
        assert get_engine(Settings.from_env()).context("night-1").stopping.wait(10)
        return answer_by_schema(body)

    project.fake.answer = answer
    ended = project.run("night-1")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "which is its limit (OVERNIGHT_NIGHT_S)" in str(ended.state.message)
    assert (ended.summary.accepted, len(project.fake.calls)) == (1, 1)
