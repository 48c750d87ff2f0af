"""The morning: each run of the night gets its page and its figures, and people are told once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.send_brief import send_brief
from overnight.ledger.runs import set_state
from overnight.records import RunState
from tests.fakes.people import People
from tests.flows.conftest import Project


@pytest.fixture
def people() -> Iterator[People]:
    with People() as people:
        yield people


def list_artifacts(run_id: str) -> dict[str, Any]:
    only = ArtifactFilter(key=ArtifactFilterKey(like_=f"%{run_id}%"))
    with get_client(sync_client=True) as client:
        return {a.key or "": a.data for a in client.read_artifacts(artifact_filter=only)}


def test_each_run_gets_its_page_once_and_people_one_notice(project: Project, people: People) -> None:
    # The server keeps the artifacts of other tests' runs: no other has this name.
    project.run("morning-1")
    figures = list_artifacts("morning-1")["figures-morning-1"]
    assert '"figure": "accepted", "this run": "3"' in figures
    project.monkeypatch.setenv("OVERNIGHT_NOTIFY", people.url)

    assert send_brief() == 1
    page = (project.folder / "data" / "reports" / "morning-1.html").read_text()
    assert "3 of 3 rows wait to be read before they leave" in page
    assert "brief-morning-1" in list_artifacts("morning-1")
    [told] = people.notices
    assert told["title"] == "1 run last night, 1 waiting for a person"
    assert "my card has not arrived" not in told["message"]

    assert send_brief() == 0
    project.decide("morning-1")
    project.run("morning-1")
    assert send_brief() == 1
    assert people.titles[1:] == ["1 run last night"]


def test_a_run_whose_rows_a_provider_had_that_morning_is_told_of_again_when_it_has_gone_on(project: Project) -> None:
    project.run("night-1")
    project.ledger.write(lambda c: set_state(c, "night-1", RunState.BATCHED))
    assert (send_brief(), send_brief()) == (1, 0)
    old = sa.text("UPDATE runs SET started_at = :at")
    project.ledger.write(lambda c: c.execute(old, {"at": time.time() - 90_000}))
    assert send_brief() == 0
    project.ledger.write(lambda c: set_state(c, "night-1", RunState.WAITING))
    assert (send_brief(), send_brief()) == (1, 0)


def test_a_run_of_another_day_is_not_told_of(project: Project) -> None:
    project.run("night-1")
    old = sa.text("UPDATE runs SET started_at = :at")
    project.ledger.write(lambda c: c.execute(old, {"at": time.time() - 90_000}))
    assert send_brief() == 0
