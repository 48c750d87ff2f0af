"""Drift as a flow meets it: a limit holds the run before anybody is asked, and its report says what changed."""

from __future__ import annotations

import json
from typing import Any

from overnight.ledger.measures import find_measures
from overnight.report.kept import read_measures
from overnight.report.measure import measure, render_markdown
from overnight.settings import Settings
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import Project

N_ROWS = 60


def write_queries(project: Project, night: int) -> None:
    lines = (f"my card number {night * N_ROWS + at} has not arrived" for at in range(N_ROWS))
    (project.folder / "queries.csv").write_text("".join(f"{line}\n" for line in ["text", *lines]))


def declare(project: Project, **more: Any) -> None:
    checks = json.loads(project.checks.read_text())
    project.checks.write_text(json.dumps(checks | more))


def answer_otherwise(body: dict[str, Any]) -> dict[str, Any]:
    return answer_by_schema(body) | {"intent": "card_linking"}


def report(project: Project, run_id: str) -> str:
    settings = Settings.from_env()
    return render_markdown(measure(run_id, ledger=project.ledger, place=settings.parts, now=9.0))


def test_a_run_that_drifted_is_held_until_the_change_is_said_to_be_wanted(project: Project) -> None:
    declare(project, drift=[{"of": "output.intent", "psi": 0.25}])
    write_queries(project, 1)
    assert project.run("night-1").name == "COMPLETED Waiting"
    assert "there was no approved run to compare with" in report(project, "night-1")
    project.decide("night-1")
    assert project.run("night-1").name == "COMPLETED Completed"

    project.fake.answer = answer_otherwise
    write_queries(project, 2)
    held = project.run("night-2")
    assert (held.name, held.summary.state, held.summary.release) == ("FAILED Held", "held", None)
    assert "it differs from run night-1 by more than checks.json of prompt route_banking_query" in str(
        held.state.message
    )
    assert "most: card\\_linking 1.7 % → 100 %" in report(project, "night-2")

    n_calls = len(project.fake.calls)
    declare(project, drift_since="night-2")
    assert project.run("night-3").name == "COMPLETED Waiting"
    assert len(project.fake.calls) == n_calls
    assert "compared with run night-2, nothing changed over its limit" in report(project, "night-3")


def test_a_reference_that_is_none_halts_the_run_in_one_line(project: Project) -> None:
    declare(project, drift_since="night-0")
    ended = project.run("night-1")
    assert (ended.name, len(project.fake.calls)) == ("FAILED Halted", 3)
    assert "checks.json names run 'night-0' at drift_since, which has no figures of this prompt" in str(
        ended.state.message
    )


def test_a_run_that_halts_is_measured_and_compared_with_nothing(project: Project) -> None:
    project.fake.answer = lambda _: Scripted(status=401, body={"error": {"message": "Incorrect API key"}})
    assert project.run("night-1").name == "FAILED Halted"
    with project.ledger.reading() as connection:
        kept = find_measures(connection, "night-1")
    found = read_measures(kept[1])
    assert (found.figures.n_pending, found.figures.failure_classes["auth"] >= 1) == (3, True)
    assert (found.compared_with, found.changes) == (None, ())
