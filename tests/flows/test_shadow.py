"""A shadow run: asked beside the night, compared, and never in its way."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.answer_urgent_tickets import answer_urgent_tickets
from flows.route_banking_query import route_banking_query
from overnight.failures import ReviewRefused
from overnight.ledger.manifests import find_batches
from overnight.ledger.queries import list_passes, list_runs, summarize
from overnight.ledger.shadows import find_shadow
from overnight.records import Batch, CheckedBatch, CompletedBatch
from overnight.report.brief.reading import find_rows
from overnight.report.diff import Diff, compare
from overnight.report.diff_page import render_diff_page
from overnight.report.diff_text import render_diff
from overnight.report.measure import measure
from overnight.report.to_read import find_readable_run
from overnight.settings import Settings
from tasks.plan import plan_flow
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import Ended, Project

_PRICES = '[tool.overnight.models."openai:gpt-fake"]\ninput_usd_per_million = 1.0\noutput_usd_per_million = 1.0\n'
#: Stands in the second prompt alone.
_MARK = "Think twice."


@pytest.fixture
def shadowed(project: Project) -> Project:
    """A project with a second prompt beside its own, and prices."""
    folder = project.folder / "prompts"
    (project.folder / "pyproject.toml").write_text(_PRICES)
    shutil.copytree(folder / "route_banking_query", folder / "second")
    text = (folder / "second" / "prompt.md").read_text()
    (folder / "second" / "prompt.md").write_text(text.replace("{% block system %}", "{% block system %}" + _MARK, 1))
    assert _MARK in (folder / "second" / "prompt.md").read_text()
    return project


def _run(project: Project, run_id: str = "night-1", shadow: str | None = "second@openai:gpt-fake") -> Ended:
    return project.call(
        run_id, route_banking_query, source="queries.csv", model="openai:gpt-fake", sink=f"file:{project.out}",
        shadow=shadow,
    )  # fmt: skip


def _find(project: Project, run_id: str = "night-1") -> Any:
    with project.ledger.reading() as connection:
        return find_shadow(connection, run_id)


def _is_shadow(body: dict[str, Any]) -> bool:
    return _MARK in json.dumps(body)


def test_a_sample_is_asked_after_the_night_s_own_rows_and_compared_before_the_gate(shadowed: Project) -> None:
    ended = _run(shadowed)
    assert ended.name == "COMPLETED Waiting"
    assert [_is_shadow(call.body) for call in shadowed.fake.calls] == [False] * 3 + [True] * 3
    shadow = _find(shadowed)
    assert (shadow.run_id, shadow.state) == ("night-1-shadow", "compared")
    assert "3 of 3 that both accept the same, 100.0%" in shadow.reason
    with shadowed.ledger.reading() as connection:
        assert [len(find_batches(connection, "night-1-shadow", kind)) for kind in (Batch, CompletedBatch)] == [1, 1]
        assert find_batches(connection, "night-1-shadow", CheckedBatch) == []
        assert [run["run_id"] for run in list_runs(connection, 10)] == ["night-1"]
    report = measure("night-1", ledger=shadowed.ledger, place=Settings.from_env().parts, now=time.time())
    assert report.shadow is not None
    assert report.shadow.endswith("`overnight diff night-1 night-1-shadow`")
    [text] = _list_artifacts("night-1")
    assert "| A accepts | 3 | 0 |" in text


def _list_artifacts(run_id: str) -> list[str]:
    """What the shadow's artifact has said, the oldest first."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[f"shadow-{run_id}"])))
    return [str(artifact.data) for artifact in sorted(found, key=lambda artifact: str(artifact.created))]


def test_no_row_of_a_shadow_is_shown_before_the_review_has_ended(shadowed: Project) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return answer_by_schema(body) | ({"intent": "lost_or_stolen_card"} if _is_shadow(body) else {})

    def find_diff() -> Diff:
        return compare("night-2", "night-2-shadow", ledger=shadowed.ledger, place=home)

    shadowed.fake.answer, home = answer, Settings.from_env().home
    _run(shadowed, "night-2")
    line = "No row is shown until the review of run night-2 has ended"
    [before] = _list_artifacts("night-2")
    assert (line in before, "## 1." in before) == (True, False)
    assert (find_diff().examples, str(find_diff().withheld).startswith(line)) == ((), True)
    shown = find_diff()
    assert all(line in " ".join(text.split()) for text in (render_diff(shown), render_diff_page(shown)))
    with shadowed.ledger.reading() as connection, pytest.raises(ReviewRefused, match="The review of run night-2 is"):
        find_readable_run(connection, "night-2-shadow")
    rows, said = find_rows("night-2-shadow", ledger=shadowed.ledger, place=home)
    assert (rows, said.startswith(line)) == ((), True)
    # Nor by the prompts' names.
    with_names = compare("second@last", "route_banking_query@last", ledger=shadowed.ledger, place=home)
    assert (with_names.examples, with_names.label_changes[0].n > 0, "under review" in str(with_names.withheld)) == (
        (), True, True,
    )  # fmt: skip
    shadowed.decide("night-2")
    _run(shadowed, "night-2")
    assert ("## 1." in _list_artifacts("night-2")[-1], line in _list_artifacts("night-2")[-1]) == (True, False)
    assert (len(find_diff().examples), find_diff().withheld) == (3, None)
    with shadowed.ledger.reading() as connection:
        assert find_readable_run(connection, "night-2-shadow") == "night-2-shadow"


def test_no_answer_of_a_shadow_reaches_the_sink_and_it_is_asked_once(shadowed: Project) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return answer_by_schema(body) | ({"intent": "lost_or_stolen_card"} if _is_shadow(body) else {})

    shadowed.fake.answer = answer
    _run(shadowed)
    shadowed.decide("night-1")
    shutil.rmtree(shadowed.folder / "prompts" / "second")
    n_calls = len(shadowed.fake.calls)
    assert _run(shadowed).name == "COMPLETED Completed"
    assert len(shadowed.fake.calls) == n_calls
    assert len(shadowed.out.read_text().splitlines()) == 3
    assert "lost_or_stolen_card" not in shadowed.out.read_text()
    assert "0 of 3 that both accept the same" in _find(shadowed).reason


def test_a_second_night_of_hits_costs_nothing_and_takes_no_time_once_it_has_ended(shadowed: Project) -> None:
    for run_id, told in (
        ("night-1", "answered 3 of 3 rows for 0.0"),
        ("night-2", "rows (3 of them hits) for 0.0000 USD"),
    ):
        _run(shadowed, run_id)
        assert told in _find(shadowed, run_id).reason
    with shadowed.ledger.reading() as connection:
        [one] = list_passes(connection, "night-2-shadow")
        summary = summarize(connection, "night-2-shadow", time.time() + 3600)
        [night] = list_passes(connection, "night-2")
    assert one["ended_at"] is not None
    assert summary.seconds == pytest.approx(one["ended_at"] - one["started_at"], abs=0.001)
    # It was opened long before it was asked.
    assert night["started_at"] < one["started_at"] <= one["ended_at"] <= night["ended_at"]


def test_a_faulty_shadow_is_refused_before_anything_is_paid(shadowed: Project) -> None:
    ended = _run(shadowed, shadow="nowhere")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "There is no prompt 'nowhere' in prompts/" in str(ended.state.message)
    assert (shadowed.fake.calls, _find(shadowed)) == ([], None)


def test_a_shadow_that_fails_is_told_and_the_night_goes_on(shadowed: Project) -> None:
    shadowed.fake.answer = lambda body: Scripted(status=401) if _is_shadow(body) else answer_by_schema(body)
    ended = _run(shadowed)
    assert (ended.name, ended.summary.accepted) == ("COMPLETED Waiting", 3)
    assert (_find(shadowed).state, "It halted: " in _find(shadowed).reason) == ("halted", True)


def test_a_comparison_that_cannot_be_made_is_told(shadowed: Project) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if _is_shadow(body):  # the part of its sample is gone by the time that it is compared
            for part in Settings.from_env().home.rglob("*.parquet"):
                part.unlink()
        return answer_by_schema(body)

    shadowed.fake.answer = answer
    _run(shadowed)
    assert _find(shadowed).state == "halted"
    assert "It failed: " in _find(shadowed).reason


def test_a_run_that_is_begun_anew_before_the_gate_asks_its_shadow_once(shadowed: Project) -> None:
    shadowed.fake.answer = lambda _body: Scripted(status=401)
    assert _run(shadowed).name == "FAILED Halted"
    assert _find(shadowed).state == "running"
    shadowed.fake.answer = answer_by_schema
    assert _run(shadowed).name == "COMPLETED Waiting"
    assert _find(shadowed).state == "compared"


def test_a_plan_leaves_the_shadow_out(shadowed: Project) -> None:
    given = {"source": "queries.csv", "model": "openai:gpt-fake", "shadow": "second"}
    plan = plan_flow(route_banking_query, given, Settings.from_env())
    assert [step.prompt.name for step in plan.steps] == ["route_banking_query"]


def test_the_first_step_of_a_chain_can_be_shadowed(shadowed: Project) -> None:
    prompt = shadowed.folder / "prompts" / "triage_ticket"
    shutil.copytree(prompt, prompt.parent / "newer")
    (prompt.parent / "newer" / "prompt.md").write_text((prompt / "prompt.md").read_text() + "\n")
    (shadowed.folder / "tickets.csv").write_text("ticket_id,subject,body\n1,Card,my card is gone\n2,PIN,how do I\n")
    ended = shadowed.call(
        "night-1", answer_urgent_tickets, source="tickets.csv", model="openai:gpt-fake", sink=f"file:{shadowed.out}",
        shadow="newer@openai:gpt-fake",
    )  # fmt: skip
    assert ended.summary.state != "halted", ended.state.message
    shadow = _find(shadowed)
    assert shadow.state in ("compared", "running")  # without an urgent row there is no gate to come to
