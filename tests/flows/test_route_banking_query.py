"""The shipped flow, whole, in this process: how a night ends, and what another night makes of it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from overnight.approve import find_standing
from overnight.failures import OvernightError
from overnight.ledger.manifests import find_batches
from overnight.records import CompletedBatch
from tasks import load_prompt
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import QUERIES, ROOT, Project

STEPS = ["pin-input", "complete-batch-1", "check-batch-1"]


def _rows_out(path: Path) -> list[str]:
    return [json.loads(line)["row_id"] for line in path.read_text().splitlines()]


def test_a_night_ends_waiting_and_nothing_leaves(project: Project) -> None:
    ended = project.run("night-1")
    assert ended.name == "COMPLETED Waiting"
    assert "wait for a person: 3. `overnight review night-1`" in str(ended.state.message)
    assert (ended.summary.state, ended.summary.calls, ended.summary.accepted) == ("waiting", 3, 3)
    assert ended.list_task_runs(3) == dict.fromkeys(STEPS, "Completed")
    assert find_standing(project.ledger, "night-1", f"file:{project.out}", now=time.time()) is None
    assert not project.out.exists()


def test_the_same_input_on_another_night_is_cached_and_costs_no_call(project: Project) -> None:
    project.run("night-1")
    again = project.run("night-2")
    assert again.list_task_runs(3) == dict(zip(STEPS, ["Completed", "Cached", "Cached"], strict=True))
    assert (again.summary.hits, again.summary.calls, len(project.fake.calls)) == (3, 0, 3)

    with project.ledger.reading() as connection:
        [completed] = find_batches(connection, "night-1", CompletedBatch)
    (project.folder / "data" / completed.part.path).write_bytes(b"altered")
    mended = project.run("night-3")
    assert mended.name == "COMPLETED Waiting"
    assert mended.list_task_runs(3)["complete-batch-1"] == "Completed"
    assert (mended.summary.hits, mended.summary.accepted, len(project.fake.calls)) == (3, 3, 3)


def test_a_batch_with_a_pending_row_is_run_again_and_not_served_from_the_cache(project: Project) -> None:
    project.fake.answer = lambda body: (
        Scripted(status=503) if "PIN" in str(body["messages"]) else answer_by_schema(body)
    )
    passes = [f"complete-batch-1-pass-{n}" for n in (2, 3, 4)]
    # It fails twice in the same way: the second batch is the same as the first, and is not final either.
    for night, n_calls in (("night-1", 18), ("night-2", 34)):
        ended = project.run(night)
        assert ended.list_task_runs(6) == dict.fromkeys([*STEPS, *passes], "Completed")
        assert (ended.summary.accepted, ended.summary.pending, len(project.fake.calls)) == (2, 1, n_calls)
    project.fake.answer = answer_by_schema
    third = project.run("night-3")
    assert third.list_task_runs(3) == dict.fromkeys(STEPS, "Completed")
    assert (third.summary.accepted, third.summary.pending, len(project.fake.calls)) == (3, 0, 35)
    assert third.summary.hits == 2
    fourth = project.run("night-4")
    assert fourth.list_task_runs(3) == dict(zip(STEPS, ["Completed", "Cached", "Cached"], strict=True))
    assert (fourth.summary.accepted, len(project.fake.calls)) == (3, 35)


def test_a_run_that_has_offered_its_release_asks_nothing_more(project: Project) -> None:
    project.fake.answer = lambda body: (
        Scripted(status=503) if "PIN" in str(body["messages"]) else answer_by_schema(body)
    )
    first = project.run("night-1")
    assert (first.name, first.summary.pending) == ("COMPLETED Waiting", 1)
    project.fake.answer = answer_by_schema
    n_calls = len(project.fake.calls)
    waiting = project.run("night-1")
    assert (waiting.name, waiting.summary.release) == ("COMPLETED Waiting", first.summary.release)
    project.decide("night-1", **{"3": "wrong"})
    s = project.run("night-1").summary
    assert (s.state, s.accepted, s.published, s.held, s.pending) == ("released", 2, 1, 1, 1)
    assert s.accepted == s.published + s.held
    assert s.rows == s.accepted + s.quarantined + s.pending
    assert len(project.fake.calls) == n_calls
    # Another night asks for what was left.
    assert (project.run("night-2").summary.pending, len(project.fake.calls)) == (0, n_calls + 1)


def test_a_decided_run_publishes_what_it_pinned_though_prompt_and_source_are_gone(project: Project) -> None:
    project.run("night-1")
    project.decide("night-1", **{"2": "wrong"})
    shutil.rmtree("prompts")
    Path("queries.csv").unlink()
    ended = project.run("night-1")
    assert ended.name == "COMPLETED Completed"
    assert (ended.summary.state, ended.summary.published, ended.summary.held) == ("released", 2, 1)
    assert _rows_out(project.out) == ["1", "3"]
    assert len(project.fake.calls) == 3


def test_a_rejected_run_ends_rejected(project: Project) -> None:
    project.run("night-1")
    project.decide("night-1", "reject")
    ended = project.run("night-1")
    assert (ended.name, ended.summary.state, ended.summary.held) == ("COMPLETED Rejected", "rejected", 3)
    assert not project.out.exists()


def test_a_rule_of_the_batch_that_fails_holds_the_run(project: Project) -> None:
    checks: Any = json.loads(project.checks.read_text())
    kwargs = {"column": "intent", "min_value": 50}
    checks["batch"].append({"type": "expect_column_unique_value_count_to_be_between", "kwargs": kwargs})
    project.checks.write_text(json.dumps(checks))
    ended = project.run("night-1")
    assert ended.name == "FAILED Held"
    assert "expect_column_unique_value_count_to_be_between(intent)" in str(ended.state.message)
    assert (ended.summary.state, ended.summary.held, ended.summary.release) == ("held", 3, None)


def test_a_halted_run_ends_failed_in_one_line_and_goes_on_when_the_cause_is_gone(project: Project) -> None:
    project.fake.answer = lambda _: Scripted(status=401, body={"error": {"message": "Incorrect API key"}})
    ended = project.run("night-1")
    assert ended.name == "FAILED Halted"
    assert "Run night-1 halted: " in str(ended.state.message)
    assert "\n" not in str(ended.state.message)
    assert (ended.summary.pending, ended.summary.quarantined) == (len(QUERIES), 0)
    project.fake.answer = answer_by_schema
    assert project.run("night-1").name == "COMPLETED Waiting"


def test_a_step_outside_a_nightly_flow_says_where_it_belongs() -> None:
    with pytest.raises(OvernightError, match="Call this step inside a flow made with @nightly_flow"):
        load_prompt("route_banking_query")


def test_a_check_of_a_field_that_the_prompt_does_not_have_halts_the_run_before_any_call(project: Project) -> None:
    checks: Any = json.loads(project.checks.read_text())
    checks["row"][0]["field"] = "evidense"
    project.checks.write_text(json.dumps(checks))
    ended = project.run("night-1")
    assert (ended.name, ended.summary.state, project.fake.calls) == ("FAILED Halted", "halted", [])
    assert "checks.json names 'evidense' at row[0].field" in str(ended.state.message)
    # It was not pinned: mended, the run goes on.
    shutil.copyfile(ROOT / "prompts" / "route_banking_query" / "checks.json", project.checks)
    assert project.run("night-1").name == "COMPLETED Waiting"


@pytest.mark.parametrize("sink", ["ftp://example.com/in", "file:out.xlsx", ""])
def test_a_sink_that_may_not_be_written_to_is_refused_before_any_call(project: Project, sink: str) -> None:
    ended = project.run("night-1", sink=sink)
    assert (ended.name, ended.summary.state, project.fake.calls) == ("FAILED Halted", "halted", [])
    assert "\n" not in str(ended.state.message)
    assert ended.summary.rows == 0
