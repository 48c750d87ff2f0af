"""Runs whose rows are with a provider, as the server of Prefect has them; the worker is this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, Crashed, Running, Suspended

from flows.watch_nights import watch_nights
from overnight.complete import get_engine
from overnight.failures import CallFailed
from overnight.ledger.queries import get_run, list_passes
from overnight.ledger.schema import passes, runs
from overnight.records import BatchState, Summary
from overnight.settings import Settings
from overnight.taxonomy import FailureClass
from tasks import follow_provider_batches, publish_report, wake_runs
from tasks.batches import wait_for_batches
from tasks.nightly import nightly_flow
from tasks.run import current_run
from tests.fakes.killed import register_killed
from tests.fakes.people import People
from tests.fakes.with_provider import move_batch, record_batch
from tests.flows.conftest import Project, list_runs_of


@nightly_flow(name="wait-awhile")
def wait_awhile(source: str | None = None, sink: str | None = None) -> Summary:
    """Wait for provider batches, where the run has any that has not ended, as a step that completes batches does."""
    run = current_run()
    left = "SELECT count(*) FROM provider_batches WHERE state NOT IN ('ended', 'unsent', 'in_doubt')"
    if run.ledger.read(lambda c: c.exec_driver_sql(left).scalar()):
        wait_for_batches(run)
    return publish_report([], [])


@nightly_flow(name="wait-always")
def wait_always(source: str | None = None, sink: str | None = None) -> Summary:
    """As above, whatever has ended."""
    wait_for_batches(current_run())
    return publish_report([], [])


@flow
def wake() -> int:
    """What wakes runs, in a flow run of its own."""
    return wake_runs()


@flow
def follow() -> int:
    """What follows provider batches, in a flow run of its own."""
    return follow_provider_batches()


@pytest.fixture
def night(client: SyncPrefectClient, project: Project, follower: UUID) -> Iterator[FlowRun]:
    """A flow run of a deployment, not begun."""
    made = client.create_deployment(flow_id=client.create_flow(wait_awhile), name="nightly", tags=["nightly"])
    project.monkeypatch.setenv("OVERNIGHT_RUN_ID", "night-1")
    run = client.create_flow_run_from_deployment(made)
    yield run
    for left in list_runs_of(client, made):
        client.delete_flow_run(left.id)
    with contextlib.suppress(httpx.HTTPStatusError):
        client.request("DELETE", "/deployments/{id}", path_params={"id": made})


@pytest.fixture
def batch_id(project: Project) -> str:
    """A provider batch of the run, which is with a provider before the run has opened its pass."""
    known = {"run_id": "night-1", "flow": "wait-awhile", "parameters": "{}", "started_at": time.time()}
    project.ledger.write(lambda c: c.execute(sa.insert(runs), known | {"state": "running", "kind": "night"}))
    return record_batch(project.ledger, "night-1", provider_id="batch_1", status="in_progress", n_done=3)


def _begin(client: SyncPrefectClient, run: FlowRun) -> Any:
    """Begin or continue it as a worker does; None where it is suspended."""
    try:
        return run_flow(wait_awhile, flow_run=client.read_flow_run(run.id), return_type="state")
    except Pause:
        return None


def _read(client: SyncPrefectClient, run: FlowRun) -> str:
    return str(client.read_flow_run(run.id).state_name)


def _list_artifacts(client: SyncPrefectClient, key: str, run: FlowRun) -> list[Any]:
    return client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
    )


def _end_when_batched(project: Project, batch_id: str) -> threading.Thread:
    def end() -> None:
        while _read_run(project)["state"] != "batched":
            time.sleep(0.01)
        move_batch(project.ledger, batch_id, BatchState.ENDED, ended_at=time.time())

    ending = threading.Thread(target=end)
    ending.start()
    return ending


def _read_run(project: Project) -> dict[str, Any]:
    with project.ledger.reading() as connection:
        return get_run(connection, "night-1")


def test_a_deployed_run_is_suspended_and_woken_once_when_nothing_is_out_any_more(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    assert _begin(client, night) is None
    suspended = client.read_flow_run(night.id).state
    assert suspended is not None
    assert (suspended.name, suspended.message) == ("Suspended", "With a provider: 4 requests in 1 provider batch.")
    assert (_read_run(project)["state"], _read_run(project)["reason"]) == ("batched", suspended.message)
    # Its time never runs out: there is none.
    assert suspended.state_details.pause_timeout is None

    assert (wake(), _read(client, night)) == (0, "Suspended")
    move_batch(project.ledger, batch_id, BatchState.ENDED, ended_at=time.time())
    assert (wake(), _read(client, night)) == (1, "Resuming")
    assert wake() == 0
    assert _begin(client, night).is_completed()
    assert _read_run(project)["state"] == "released"


def test_the_page_of_a_run_that_waits_shows_what_is_out_now_and_not_what_was(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    _begin(client, night)
    [table] = _list_artifacts(client, "batches-night-1", night)
    assert f"| {batch_id} | batch\\_1 | submitted \\(in\\_progress\\) | 3 of 4 |" in table.data
    assert table.task_run_id is None
    [share] = _list_artifacts(client, "batches-done-night-1", night)
    assert (share.type, share.data) == ("progress", 75.0)

    move_batch(project.ledger, batch_id, BatchState.SUBMITTED, n_done=4)
    wake()
    [table], [share] = (_list_artifacts(client, f"batches-{of}night-1", night) for of in ("", "done-"))
    assert "| 4 of 4 |" in table.data
    assert share.data == 100.0
    assert "4 requests" in share.description


def test_somebody_who_resumes_it_too_early_does_no_harm(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    _begin(client, night)
    client.resume_flow_run(night.id)
    assert _begin(client, night) is None
    assert (_read(client, night), _read_run(project)["state"]) == ("Suspended", "batched")
    with project.ledger.reading() as connection:
        assert len(list_passes(connection, "night-1")) == 2
    move_batch(project.ledger, batch_id, BatchState.ENDED, ended_at=time.time())
    assert wake() == 1
    assert _begin(client, night).is_completed()


def test_what_a_worker_s_environment_says_later_is_for_runs_to_come(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "5")
    _begin(client, night)
    move_batch(project.ledger, batch_id, BatchState.ENDED, ended_at=time.time())
    wake()
    project.monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "100")
    assert _begin(client, night).is_completed()
    assert _read_run(project)["budget_usd"] == 5.0
    assert get_engine(Settings.from_env()).context("night-1").cap.usd == 5.0


def test_a_run_whose_deadline_has_come_is_woken_although_its_batch_is_out(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    _begin(client, night)
    at = sa.update(runs).where(runs.c.run_id == "night-1")
    project.ledger.write(lambda c: c.execute(at.values(by_at=time.time() + 86_400)))
    assert wake() == 0
    project.ledger.write(lambda c: c.execute(at.values(by_at=time.time() - 1)))
    assert wake() == 1


def test_a_run_whose_deadline_has_come_stays_while_the_provider_stops_and_goes_on_at_once(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_BATCH_POLL_S", "0.05")
    move_batch(project.ledger, batch_id, BatchState.SUBMITTED, canceled_at=time.time())
    at = sa.update(runs).where(runs.c.run_id == "night-1").values(by_at=time.time() - 1)
    project.ledger.write(lambda c: c.execute(at))
    ending = _end_when_batched(project, batch_id)
    assert _begin(client, night).is_completed()
    ending.join()
    # One that does not stop in good time holds no process.
    late = record_batch(project.ledger, "night-1", canceled_at=time.time() - 3600)
    project.ledger.write(lambda c: c.execute(at))
    assert night.deployment_id is not None
    assert _begin(client, client.create_flow_run_from_deployment(night.deployment_id)) is None
    move_batch(project.ledger, late, BatchState.ENDED)


@pytest.fixture(params=["deployment", "paused", "schedule", "code"])
def nobody(request: pytest.FixtureRequest, client: SyncPrefectClient, follower: UUID) -> None:
    """Nobody follows provider batches, for one of the reasons that there may be."""
    changes = {"paused": {"paused": True}, "code": {"entrypoint": "flows.no_such.follow_batches"}}
    if request.param == "deployment":
        client.request("DELETE", "/deployments/{id}", path_params={"id": follower})
    elif request.param == "schedule":
        [schedule] = client.read_deployment(follower).schedules
        client.update_deployment_schedule(follower, schedule.id, active=False)
    else:
        client.request("PATCH", "/deployments/{id}", path_params={"id": follower}, json=changes[request.param])


@pytest.mark.usefixtures("nobody")
def test_where_nobody_would_wake_it_a_deployed_run_stays_says_so_once_and_goes_on_by_itself(
    project: Project, people: People, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    project.monkeypatch.setenv("OVERNIGHT_BATCH_POLL_S", "0.05")
    ending = _end_when_batched(project, batch_id)
    assert _begin(client, night).is_completed()
    ending.join()
    assert people.titles == ["Run night-1 holds its worker while it waits"]
    assert "`overnight init --tasks`" in people.notices[0]["message"]


@pytest.mark.usefixtures("batch_id")
def test_a_run_that_stayed_lets_go_of_its_worker_once_somebody_follows(
    people: People, client: SyncPrefectClient, night: FlowRun, follower: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERNIGHT_BATCH_POLL_S", "0.05")
    client.request("PATCH", "/deployments/{id}", path_params={"id": follower}, json={"paused": True})

    def put_in_place() -> None:
        while not people.titles:
            time.sleep(0.01)
        with get_client(sync_client=True) as other:
            other.request("PATCH", "/deployments/{id}", path_params={"id": follower}, json={"paused": False})

    putting = threading.Thread(target=put_in_place)
    putting.start()
    # The flow of this test waits once; those that complete rows wait again, and are suspended then.
    assert _begin(client, night).is_completed()
    putting.join()


def test_what_is_suspended_for_a_person_is_not_woken(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    _begin(client, night)
    states: list[State[Any]] = [Running(), Suspended(pause_key="release-1-0")]
    for state in states:
        client.set_flow_run_state(night.id, state, force=True)
    move_batch(project.ledger, batch_id, BatchState.ENDED, ended_at=time.time())
    assert (wake(), _read(client, night)) == (0, "Suspended")


@pytest.mark.usefixtures("batch_id")
@pytest.mark.parametrize("gone", ["deleted", "cancelled", "deployment"])
def test_people_are_told_once_of_a_run_that_nobody_would_wake(
    people: People, client: SyncPrefectClient, night: FlowRun, gone: str
) -> None:
    _begin(client, night)
    if gone == "deleted":
        client.delete_flow_run(night.id)
    elif gone == "deployment":
        client.request("DELETE", "/deployments/{id}", path_params={"id": night.deployment_id})
    else:
        client.set_flow_run_state(night.id, Cancelled(), force=True)
    assert (wake(), wake()) == (0, 0)
    assert people.titles == ["Run night-1 will not be woken"]
    assert "`overnight continue night-1`" in people.notices[0]["message"]


def test_a_suspended_run_is_neither_lost_nor_late_nor_missing(
    project: Project, people: People, client: SyncPrefectClient, night: FlowRun, batch_id: str
) -> None:
    _begin(client, night)
    assert (watch_nights(), people.titles, _read(client, night)) == (0, [], "Suspended")


@pytest.mark.parametrize("is_heard", [True, False], ids=["crashed", "lost"])
def test_a_run_that_was_killed_before_it_was_suspended_is_put_back(
    project: Project, client: SyncPrefectClient, night: FlowRun, batch_id: str, is_heard: bool
) -> None:
    _begin(client, night)
    # As it stood a moment before: the pass open, by a process that is no more.
    open_again = sa.update(passes).values(ended_at=None, worker_id=register_killed(project.ledger))
    project.ledger.write(lambda c: c.execute(open_again))
    states: list[State[Any]] = [Running(), *([Crashed()] if is_heard else [])]
    for state in states:
        client.set_flow_run_state(night.id, state, force=True)
    assert watch_nights() == 1
    assert _read(client, night) == "AwaitingRetry"
    assert _begin(client, night) is None
    assert (_read(client, night), _read_run(project)["state"]) == ("Suspended", "batched")


@pytest.mark.parametrize(
    ("facts", "is_told"),
    [
        ({"looked_at": -3700.0}, True),
        ({"looked_at": -3500.0}, False),
        ({"submitted_at": -3700.0}, True),
        ({"looked_at": 0.0, "expires_at": -7300.0}, True),
        ({"looked_at": 0.0, "expires_at": -7100.0}, False),
    ],
)
def test_people_are_told_once_of_a_batch_that_nobody_can_look_at_any_more(
    project: Project, people: People, batch_id: str, facts: dict[str, float], is_told: bool
) -> None:
    # Without a key nobody can look at it.
    project.monkeypatch.delenv("OPENAI_API_KEY")
    project.monkeypatch.delenv("OPENAI_BASE_URL")
    project.call("night-1", wait_awhile)
    now = time.time()
    move_batch(project.ledger, batch_id, BatchState.SUBMITTED, **{name: now + s for name, s in facts.items()})
    follow()
    follow()
    assert people.titles == ["A provider batch of run night-1 cannot be followed"] * is_told
    if is_told:
        assert "OPENAI_API_KEY is not set" in people.notices[0]["message"]


def test_people_are_told_once_of_a_batch_in_doubt(project: Project, people: People, batch_id: str) -> None:
    project.call("night-1", wait_awhile)
    move_batch(project.ledger, batch_id, BatchState.IN_DOUBT, reason="two of the provider's may be it.")
    follow()
    follow()
    assert people.titles == ["A provider batch of run night-1 is in doubt"]
    said = people.notices[0]["message"]
    assert "4 requests, or may not (two of the provider's may be it)" in said
    assert "`overnight batches`" in said


def test_a_run_by_hand_ends_batched_and_says_how_it_goes_on(project: Project, batch_id: str) -> None:
    ended = project.call("night-1", wait_awhile)
    assert (ended.name, ended.summary.state) == ("COMPLETED Batched", "batched")
    assert "`overnight continue night-1`" in str(ended.state.message)
    # Nobody has suspended it: there is nobody to wake.
    assert wake() == 0


def test_a_run_by_hand_whose_batches_ended_a_moment_ago_goes_on_at_once(project: Project, batch_id: str) -> None:
    # As its flow finds them when they end between its look and its wait.
    move_batch(project.ledger, batch_id, BatchState.ENDED, ended_at=time.time())
    ended = project.call("night-1", wait_always)
    assert (ended.name, ended.summary.state) == ("COMPLETED Completed", "released")


def test_a_run_by_hand_that_waits_goes_on_when_nothing_is_out_any_more(project: Project, batch_id: str) -> None:
    project.monkeypatch.setenv("OVERNIGHT_WAIT", "1")
    project.monkeypatch.setenv("OVERNIGHT_BATCH_POLL_S", "0.05")
    ending = _end_when_batched(project, batch_id)
    ended = project.call("night-1", wait_awhile)
    ending.join()
    assert (ended.name, ended.summary.state) == ("COMPLETED Completed", "released")


def test_a_run_by_hand_that_waits_hears_at_once_that_it_is_stopped(project: Project, batch_id: str) -> None:
    project.monkeypatch.setenv("OVERNIGHT_WAIT", "1")
    project.monkeypatch.setenv("OVERNIGHT_BATCH_POLL_S", "3600")

    def stop() -> None:
        while _read_run(project)["state"] != "batched":
            time.sleep(0.01)
        context = get_engine(Settings.from_env()).context("night-1")
        context.halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))

    other = threading.Thread(target=stop)
    other.start()
    ended = project.call("night-1", wait_awhile)
    other.join()
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "It was stopped by hand." in str(ended.state.message)
