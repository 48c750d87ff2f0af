"""What every nightly flow keeps to, whatever its steps are."""

from __future__ import annotations

import pytest

from overnight.failures import CallFailed, OvernightError
from overnight.ledger.queries import get_run
from overnight.records import Summary
from overnight.taxonomy import FailureClass
from tasks import check_batches, complete_batches, load_batches, load_prompt, nightly_flow
from tasks.run import current_run
from tests.flows.conftest import Project


@nightly_flow(name="read-two-sources")
def read_two_sources(first: str, second: str) -> Summary:
    prompt = load_prompt("route_banking_query")
    load_batches(first, prompt)
    load_batches(second, prompt)
    raise AssertionError("a second source was read")


@nightly_flow(name="stop-between")
def stop_between(source: str) -> Summary:
    prompt = load_prompt("route_banking_query")
    completed = complete_batches(load_batches(source, prompt), prompt, "openai:gpt-fake")
    run = current_run()
    run.engine.context(run.run_id).halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))
    check_batches(completed, prompt)
    raise AssertionError("a step began after the run was stopped")


@nightly_flow(name="stumble")
def stumble(wrong: str) -> Summary:
    raise ZeroDivisionError(wrong)


@pytest.mark.parametrize("name", ["triage", "stumbles", "Stumble-Now", ""])
def test_a_name_that_does_not_lead_back_to_its_function_is_refused(name: str) -> None:
    def stumble_now() -> Summary:
        raise NotImplementedError

    with pytest.raises(OvernightError, match=f"The flow {name!r} is made of the function stumble_now") as caught:
        nightly_flow(name=name)(stumble_now)
    assert "Name it 'stumble-now'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["stumble-now", "stumble_now"])
def test_a_name_that_leads_back_to_its_function_is_the_flow_s_name(name: str) -> None:
    def stumble_now() -> Summary:
        raise NotImplementedError

    assert nightly_flow(name=name)(stumble_now).name == name


def test_a_second_source_within_one_run_is_refused(project: Project) -> None:
    (project.folder / "other.csv").write_text("text\nanother question\n")
    ended = project.call("night-1", read_two_sources, first="queries.csv", second="other.csv")
    assert (ended.name, ended.summary.state, ended.summary.rows) == ("FAILED Halted", "halted", 3)
    assert str(ended.state.message).startswith("Run night-1 has pinned queries.csv, and other.csv is another source.")


def test_an_exception_that_nobody_foresaw_leaves_the_run_halted_and_the_flow_failed(project: Project) -> None:
    ended = project.call("night-1", stumble, wrong="not my day")
    assert (ended.state.is_failed(), ended.summary.state) == (True, "halted")
    assert "not my day" in str(ended.state.message)
    with project.ledger.reading() as connection:
        assert get_run(connection, "night-1")["reason"] == "ZeroDivisionError: not my day"


def test_a_run_that_is_stopped_between_two_steps_begins_no_other(project: Project) -> None:
    ended = project.call("night-1", stop_between, source="queries.csv")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "It was stopped by hand." in str(ended.state.message)
