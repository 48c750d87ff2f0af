"""A project in a temporary folder, its flows run in this process against a server of Prefect's own for tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows.follow_batches import follow_batches
from flows.route_banking_query import route_banking_query
from overnight.approve import decide, open_round
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.queries import summarize
from overnight.ledger.releases import find_release
from overnight.records import Approval, Release, RunState, Summary
from overnight.settings import Settings
from tasks.check import get_validator
from tests.fakes.people import People
from tests.fakes.provider import FakeProvider
from tests.honest import find_seeds, read_honestly

ROOT = Path(__file__).parents[2]
QUERIES = ["my card has not arrived", "how do I change my PIN", "the transfer was declined"]


def list_runs_of(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    """The flow runs of a deployment: of all there are Prefect gives two hundred, and all tests share its server."""
    only = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    return client.read_flow_runs(deployment_filter=only)


@dataclass(frozen=True)
class Ended:
    """How a flow run ended."""

    state: State[Any]
    summary: Summary

    @property
    def name(self) -> str:
        return f"{self.state.type.value} {self.state.name}"

    def list_task_runs(self, n: int) -> dict[str, str]:
        """The states of its n task runs, once the server has heard how each of them ended."""
        only = FlowRunFilter(id=FlowRunFilterId(any_=[_flow_run_id(self.state)]))
        deadline = time.monotonic() + 20
        with get_client(sync_client=True) as client:
            while True:
                runs = client.read_task_runs(flow_run_filter=only)
                is_heard = len(runs) >= n and all(run.state and run.state.is_final() for run in runs)
                if is_heard or time.monotonic() > deadline:
                    return {run.name: str(run.state and run.state.name) for run in runs}
                time.sleep(0.05)


@dataclass(frozen=True)
class Project:
    """The folder that the flows run in."""

    folder: Path
    fake: FakeProvider
    monkeypatch: pytest.MonkeyPatch

    @property
    def ledger(self) -> Ledger:
        return open_ledger(Settings.from_env().ledger_url)

    @property
    def out(self) -> Path:
        return self.folder / "out.jsonl"

    @property
    def checks(self) -> Path:
        return self.folder / "prompts" / "route_banking_query" / "checks.json"

    def run(self, run_id: str, *, sink: str | None = None) -> Ended:
        """Run the flow, or continue it."""
        sink = f"file:{self.out}" if sink is None else sink
        return self.call(run_id, route_banking_query, source="queries.csv", model="openai:gpt-fake", sink=sink)

    def call(self, run_id: str, flow: Flow[Any, Any], **parameters: Any) -> Ended:
        """Run any flow."""
        self.monkeypatch.setenv("OVERNIGHT_RUN_ID", run_id)
        state: Any = flow(**parameters, return_state=True)
        with self.ledger.reading() as connection:
            summary = summarize(connection, run_id, time.time())
        return Ended(state, summary)

    def find_release(self, run_id: str) -> Release:
        with self.ledger.reading() as connection:
            release = find_release(connection, run_id)
        assert release is not None
        return release

    def list_shown(self, release: Release) -> list[str]:
        """The rows that are shown, without the seeds, which bear the ids of rows."""
        seeds = find_seeds(self.ledger, release)
        return sorted(i.row_id for i in release.items if i.item not in seeds)

    def decide(self, run_id: str, decision: Any = "release", **verdicts: str) -> Approval | RunState:
        """A person's decision, as `overnight review` records it."""
        settings, ledger = Settings.from_env(), self.ledger
        # A very small release is read in two rounds.
        while True:
            release = open_round(self.find_release(run_id), ledger=ledger, place=settings.parts, now=time.time())
            made = decide(
                release,
                read_honestly(ledger, release, decision, **verdicts),
                channel="file",
                ledger=ledger,
                key_file=settings.approval_key,
                now=time.time(),
            )
            if made.outcome != "more":
                break
        assert made.is_final, made.words
        return made.approval or RunState(made.outcome)


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch, project: Project) -> Iterator[People]:
    """Who is told."""
    with People() as people:
        monkeypatch.setenv("OVERNIGHT_NOTIFY", people.url)
        yield people


@pytest.fixture
def client(project: Project) -> Iterator[SyncPrefectClient]:
    """Asks the server of the tests."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def follower(project: Project) -> Iterator[UUID]:
    """A deployment of the flow that follows provider batches; its schedule is active, and does not come round."""
    rare = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 0 29 2 *"), active=True)
    entrypoint = "flows.follow_batches.follow_batches"
    with get_client(sync_client=True) as client:
        made = client.create_deployment(
            client.create_flow(follow_batches), name="every-five-minutes", schedules=[rare], entrypoint=entrypoint
        )
        yield made
        with contextlib.suppress(httpx.HTTPStatusError):
            client.request("DELETE", "/deployments/{id}", path_params={"id": made})


def _flow_run_id(state: State[Any]) -> UUID:
    found = state.state_details.flow_run_id
    assert found is not None
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    get_validator().start()  # its import takes seconds: beside the server's start, not after it
    # What a run logs no test asks the server for.
    settings = {PREFECT_LOCAL_STORAGE_PATH: tmp_path_factory.mktemp("results"), PREFECT_LOGGING_TO_API_ENABLED: False}
    with (
        temporary_settings(settings),
        prefect_test_harness(server_startup_timeout=120),
    ):
        yield


@pytest.fixture
def project(server: None, tmp_path: Path, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [n for n in os.environ if n.startswith("OVERNIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OVERNIGHT_RETRY_BASE_S", "0")
    monkeypatch.setenv("OVERNIGHT_PROBE_S", "0.02")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "prompts", tmp_path / "prompts")
    (tmp_path / "queries.csv").write_text("".join(f"{line}\n" for line in ["text", *QUERIES]))
    return Project(tmp_path, fake, monkeypatch)
