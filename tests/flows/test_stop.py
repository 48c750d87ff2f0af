"""A flow that gets SIGTERM, as from a service manager or from Prefect."""

from __future__ import annotations

import os
import signal
from typing import Any

from overnight.complete import get_engine
from overnight.settings import Settings
from tests.fakes.provider import answer_by_schema
from tests.flows.conftest import QUERIES, Project


def test_sigterm_ends_a_run_after_the_calls_in_flight_and_costs_no_call_twice(project: Project) -> None:
    project.monkeypatch.setenv("OVERNIGHT_CONCURRENCY", "1")
    before = signal.getsignal(signal.SIGTERM)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if len(project.fake.calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            # Answered only when the run has heard it.
            assert get_engine(Settings.from_env()).context("night-1").stopping.wait(10)
        return answer_by_schema(body)

    project.fake.answer = answer
    ended = project.run("night-1")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "It was ended by SIGTERM." in str(ended.state.message)
    assert (ended.summary.accepted, len(project.fake.calls)) == (1, 1)
    assert signal.getsignal(signal.SIGTERM) is before

    again = project.run("night-1")
    assert (again.summary.state, again.summary.accepted) == ("waiting", len(QUERIES))
    assert len(project.fake.calls) == len(QUERIES)
