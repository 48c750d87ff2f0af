"""Machines that share a ledger and a place of parts, and no disk: what one asked, another reviews, tells and purges."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.route_banking_query import route_banking_query
from overnight.failures import PlaceUnreachable
from overnight.purge import purge
from overnight.report.measure import measure, render_markdown
from overnight.settings import Settings
from tasks.plan import plan_flow
from tests.fakes.provider import Scripted, answer_by_schema
from tests.fakes.s3 import FakeS3, Trouble
from tests.fakes.shared import serve_parts
from tests.flows.conftest import Ended, Project

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeS3]:
    with serve_parts(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture
def shared(project: Project, s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> Project:
    """On machine "a": the second of four rows is refused."""
    s3.forget()
    monkeypatch.setenv("OVERNIGHT_PARTS_URL", f"s3://shared-{os.getpid()}-{next(_numbers)}/night")
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", f"sqlite:///{project.folder}/ledger.sqlite")
    monkeypatch.setenv("OVERNIGHT_APPROVAL_KEY", str(project.folder / "approval.key"))
    texts = ("my card has not arrived", "refuse this card", "how do I change my PIN", "the transfer was declined")
    Path("queries.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts, 1)))
    checks: Any = json.loads(project.checks.read_text())
    project.checks.write_text(json.dumps(checks | {"max_quarantined": 0.9}))
    project.fake.answer = _refuse_some
    _go_to("a", project)
    return project


def _refuse_some(body: dict[str, Any]) -> Scripted | dict[str, Any]:
    return Scripted(refusal="I may not.") if "refuse" in str(body["messages"][-1]) else answer_by_schema(body)


def _go_to(machine: str, project: Project) -> None:
    project.monkeypatch.setenv("OVERNIGHT_HOME", str(project.folder / f"home-{machine}"))


def _call(*arguments: str) -> str:
    """A command of its own process, where this one's environment says."""
    environment = {name: value for name, value in os.environ.items() if name != "OVERNIGHT_RUN_ID"}
    done = subprocess.run(
        [sys.executable, "-m", "overnight", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _retry(project: Project) -> Ended:
    return project.call(
        "retry-1", route_banking_query, source="quarantine:night-1", model="openai:gpt-fake", sink=f"file:{project.out}"
    )


def test_what_one_machine_asked_another_reviews_delivers_tells_and_retries(shared: Project) -> None:
    assert shared.run("night-1").name == "COMPLETED Waiting"
    n_calls = len(shared.fake.calls)

    _go_to("b", shared)
    shared.decide("night-1")
    ended = shared.run("night-1")
    assert (ended.summary.published, ended.summary.quarantined) == (3, 1), ended.state.message
    assert len(shared.fake.calls) == n_calls

    told = json.loads(_call("why", "3", "--run", "night-1", "--json"))
    assert told["input"]["text"] == "how do I change my PIN"
    assert "night-1" in _call("diff", "night-1", "night-1")
    assert "I may not." in _call("quarantine", "night-1")
    flow = {"source": "queries.csv", "model": "openai:gpt-fake"}
    [step] = plan_flow(route_banking_query, flow, Settings.from_env()).steps
    assert (step.n_hits, step.n_quarantined_before, sum(step.misses.values())) == (3, 1, 0)

    shared.fake.answer = answer_by_schema
    assert _retry(shared).summary.rows == 1
    shared.decide("retry-1")
    assert _retry(shared).summary.published == 1
    assert len(shared.out.read_text().splitlines()) == 4
    assert not list(shared.folder.glob("home-*/parts"))


def test_what_was_checked_elsewhere_has_its_pages_there(shared: Project) -> None:
    shared.run("night-1")
    settings = Settings.from_env()
    ours = measure("night-1", ledger=shared.ledger, place=settings.parts, now=time.time(), home=settings.home)
    assert ours.docs
    assert ours.docs.exists()
    shared.monkeypatch.setattr(platform, "node", lambda: "another")
    theirs = measure("night-1", ledger=shared.ledger, place=settings.parts, now=time.time(), home=settings.home)
    assert theirs.docs is None
    assert str(theirs.docs_elsewhere).startswith("docs/route_banking_query-")
    assert f"Data Docs: {theirs.docs_elsewhere}" in render_markdown(theirs)


def test_a_purge_leaves_what_a_waiting_run_needs_and_deletes_the_rest(shared: Project, s3: FakeS3) -> None:
    shared.run("night-1")
    needed = set(s3.objects)
    bucket = next(iter(needed)).partition("/")[0]
    s3.objects[f"{bucket}/night/parts/ab/{'ab' * 32}.parquet"] = b"of a run that is gone"
    young = f"{bucket}/night/parts/cd/{'cd' * 32}.parquet"
    s3.objects[young] = b"of a run that has not said so yet"
    s3.put_at = dict.fromkeys(s3.objects, 1000.0) | {young: time.time()}
    _go_to("b", shared)
    done = json.loads(_call("purge", "--older-than", "1h", "--yes", "--json"))
    assert done["counts"]["parts"] == 1
    assert set(s3.objects) == needed | {young}
    assert any("run the same purge on the others too" in line for line in done["words"])


def test_a_purge_that_cannot_read_the_parts_drops_nothing(shared: Project, s3: FakeS3) -> None:
    shared.run("night-1")
    kept = dict(s3.objects)
    s3.troubles = [Trouble("GET", 403, code="AccessDenied")] * 9
    settings = Settings.from_env()
    with pytest.raises(PlaceUnreachable, match=r"cannot be read in s3://"):
        purge(shared.ledger, settings.home, settings.parts, before=time.time(), by="Ada")
    assert s3.objects == kept


def test_a_run_whose_store_refuses_halts_in_one_line_and_goes_on_later(shared: Project, s3: FakeS3) -> None:
    s3.troubles = [Trouble("PUT", 403, code="AccessDenied")]
    halted = shared.run("night-1")
    assert halted.name == "FAILED Halted"
    assert "cannot be written in s3://" in str(halted.state.message)
    assert shared.run("night-1").name == "COMPLETED Waiting"


def test_a_run_whose_store_goes_away_amid_its_rows_halts_once_and_has_its_report(shared: Project, s3: FakeS3) -> None:
    def lose_store(body: dict[str, Any]) -> Scripted | dict[str, Any]:
        s3.troubles = [Trouble("PUT", 403, code="AccessDenied"), *[Trouble("GET", 403, code="AccessDenied")] * 500]
        return _refuse_some(body)

    shared.fake.answer = lose_store
    halted = shared.run("store-away-1")
    assert s3.troubles
    assert halted.name == "FAILED Halted"
    assert "cannot be written in s3://" in str(halted.state.message)
    # The server keeps the artifacts of other tests' runs: no other has this name.
    only = ArtifactFilter(key=ArtifactFilterKey(any_=["report-store-away-1"]))
    with get_client(sync_client=True) as client:
        assert len(client.read_artifacts(artifact_filter=only)) == 1
