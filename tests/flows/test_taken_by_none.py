"""Provider batches that the provider does not take, and those that nobody waits beside: what a run says of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow

from flows.route_banking_query import route_banking_query
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.queries import get_run
from overnight.records import BatchState
from tests.fakes.batches import Trouble
from tests.fakes.with_provider import move_batch
from tests.flows.conftest import Project

_MANY = 100


@pytest.fixture
def batched(project: Project) -> Project:
    project.monkeypatch.setenv("OVERNIGHT_MODE", "batch")
    project.fake.batches.ends_after = None
    return project


@pytest.fixture
def night(batched: Project, follower: UUID) -> Iterator[FlowRun]:
    """A flow run of a deployment, not begun."""
    given = {"source": "queries.csv", "model": "openai:gpt-fake", "sink": f"file:{batched.out}"}
    batched.monkeypatch.setenv("OVERNIGHT_RUN_ID", "night-1")
    with get_client(sync_client=True) as client:
        made = client.create_deployment(flow_id=client.create_flow(route_banking_query), name="nightly")
        yield client.create_flow_run_from_deployment(made, parameters=given)
        client.request("DELETE", "/deployments/{id}", path_params={"id": made})


def _read_reason(project: Project) -> str:
    with project.ledger.reading() as connection:
        return str(get_run(connection, "night-1")["reason"])


@pytest.mark.parametrize(("status", "way_out"), [(503, False), (501, True)])
def test_a_run_by_hand_whose_batches_the_provider_does_not_take_halts_and_says_why(
    batched: Project, status: int, way_out: bool
) -> None:
    batched.fake.batches.troubles = [Trouble("upload", status=status, n=_MANY)]
    ended = batched.run("night-1")
    said = str(ended.state.message)
    assert (ended.name, ended.summary.state, "\n" in said) == ("FAILED Halted", "halted", False)
    assert said.startswith("Run night-1 halted: openai:gpt-fake took no batch: openai:gpt-fake (127.0.0.1:")
    assert f" answered {status}: As told. " in said
    assert "sent again" not in said
    assert said.endswith("Nothing was sent; mend that and `overnight continue night-1`.")
    assert ("--mode online" in said) is way_out
    # Once it takes them, it goes on.
    batched.fake.batches.troubles = []
    assert batched.run("night-1").name == "COMPLETED Batched"
    assert len(batched.fake.batches.received) == 1


@pytest.mark.parametrize("status", [401, 404])
def test_a_key_or_a_path_that_is_not_known_halts_it_too(batched: Project, status: int) -> None:
    batched.fake.batches.troubles = [Trouble("upload", status=status, n=_MANY)]
    ended = batched.run("night-1")
    assert ended.name == "FAILED Halted"
    assert f"answered {status}" in str(ended.state.message)
    assert ("--mode online" in str(ended.state.message)) is (status == 404)


def test_a_deployed_run_names_the_reason_and_is_tried_again(batched: Project, night: FlowRun) -> None:
    batched.fake.batches.troubles = [Trouble("upload", status=503, n=_MANY)]
    with get_client(sync_client=True) as client, pytest.raises(Pause):
        run_flow(route_banking_query, flow_run=client.read_flow_run(night.id), return_type="state")
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(night.id).state
    assert state is not None
    assert str(state.message) == _read_reason(batched)
    assert "openai:gpt-fake took no batch and is tried again at the next poll: " in str(state.message)
    assert "answered 503" in str(state.message)


@pytest.mark.parametrize("has_deadline", [True, False])
def test_a_run_by_hand_with_a_deadline_says_that_nobody_watches_for_it(batched: Project, has_deadline: bool) -> None:
    by = datetime.fromtimestamp(time.time() + 12 * 3600).astimezone().strftime("%H:%M")
    if has_deadline:
        batched.monkeypatch.setenv("OVERNIGHT_BY", by)
    ended = batched.run("night-1")
    assert ended.name == "COMPLETED Batched"
    line = f" By {by} nobody asks the rest online by itself: `overnight continue night-1 --wait` does."
    assert str(ended.state.message).endswith(line) is has_deadline


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_a_second_run_over_rows_that_are_with_a_provider_says_which_run_and_batch_has_them(
    batched: Project, is_doubtful: bool
) -> None:
    assert batched.run("night-1").name == "COMPLETED Batched"
    [batch] = batched.ledger.read(list_batches)
    if is_doubtful:
        move_batch(batched.ledger, batch.batch_id, BatchState.IN_DOUBT, provider_id=None)
    batched.monkeypatch.setenv("OVERNIGHT_MODE", "online")
    ended = batched.run("night-2")
    said = str(ended.state.message)
    assert (ended.name, len(batched.fake.online_calls)) == ("FAILED Halted", 0)
    assert said.startswith(
        "Run night-2 has no accepted row: all 3 pending rows are with a provider, in provider batch"
        f" {batch.batch_id} of run night-1. Nothing is broken, and nothing is paid for twice: "
    )
    assert ("settle what is in doubt" in said) is is_doubtful
    assert said.endswith("`overnight continue night-2`.")
