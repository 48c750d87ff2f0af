"""What a run began with holds in its later passes: its budget, how its rows are asked, and by when."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.answer_urgent_tickets import answer_urgent_tickets
from overnight.complete import RunContext, get_engine
from overnight.ledger import terms
from overnight.ledger.schema import passes, runs
from overnight.settings import Settings
from tests.fakes.provider import answer_by_schema
from tests.flows.conftest import QUERIES, Project

#: A price at which each call of these rows costs some cents.
_PRICED = """
[tool.overnight.models."openai:gpt-fake"]
input_usd_per_million = 100
output_usd_per_million = 100
"""


@pytest.fixture(autouse=True)
def _priced(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text(_PRICED)


def _say(project: Project, **values: object) -> None:
    """What the environment of the next pass says; None: nothing."""
    for name, value in values.items():
        if value is None:
            project.monkeypatch.delenv(f"OVERNIGHT_{name}", raising=False)
        else:
            project.monkeypatch.setenv(f"OVERNIGHT_{name}", str(value))


def _count_online(project: Project) -> int:
    return len(project.fake.online_calls)


def _find(project: Project, run_id: str = "night-1") -> Any:
    return project.ledger.read(lambda c: c.execute(sa.select(runs).where(runs.c.run_id == run_id)).one())


def _get_context() -> RunContext:
    return get_engine(Settings.from_env()).context("night-1")


@pytest.mark.parametrize("mode", [None, "batch"])
def test_a_budget_holds_in_later_passes_whose_environment_says_none(project: Project, mode: str | None) -> None:
    _say(project, BUDGET_USD=0.0001, MODE=mode)
    assert project.run("night-1").name == "FAILED Halted"
    _say(project, BUDGET_USD=None)
    again = project.run("night-1")
    assert again.name == "FAILED Halted"
    assert "of the $0.000100 of run night-1" in str(again.state.message)
    assert (project.fake.calls, project.fake.batches.received) == ([], [])
    # Another run is told nothing of it.
    assert project.run("night-2").name == ("COMPLETED Batched" if mode else "COMPLETED Waiting")


def test_a_budget_said_by_hand_takes_the_place_of_the_first_and_stays(project: Project) -> None:
    _say(project, BUDGET_USD=0.0001)
    project.run("night-1")
    _say(project, BUDGET_USD=50)
    assert project.run("night-1").name == "COMPLETED Waiting"
    _say(project, BUDGET_USD=None)
    assert _find(project).budget_usd == 50
    project.run("night-1")
    assert _find(project).budget_usd == 50


def test_a_budget_of_which_no_price_tells_is_refused_in_later_passes_too(project: Project) -> None:
    (project.folder / "pyproject.toml").write_text("")
    _say(project, BUDGET_USD=1)
    assert "no price is known" in str(project.run("night-1").state.message)
    _say(project, BUDGET_USD=None)
    assert "no price is known" in str(project.run("night-1").state.message)
    assert project.fake.calls == []


def test_a_run_in_batches_that_is_asked_online_gives_them_up_and_ends(project: Project) -> None:
    project.fake.batches.ends_after = None
    project.fake.batches.cancel_looks = 2
    _say(project, MODE="batch")
    assert project.run("night-1").name == "COMPLETED Batched"
    [batch] = project.fake.batches.received
    _say(project, MODE="online")
    # It is asked to stop; until it has, nobody may ask elsewhere.
    assert (project.run("night-1").name, _count_online(project)) == ("COMPLETED Batched", 0)
    assert batch.canceled_at_look is not None
    _say(project, MODE=None)
    while (ended := project.run("night-1")).name == "COMPLETED Batched":
        assert batch.n_looks < 20
    assert (ended.name, ended.summary.accepted, _count_online(project)) == ("COMPLETED Waiting", 3, len(QUERIES))
    assert (_find(project).mode, len(project.fake.batches.received)) == ("online", 1)


def test_what_was_answered_before_the_batch_was_given_up_is_kept(project: Project) -> None:
    project.fake.batches.ends_after = None
    project.fake.batches.is_done_at_cancel = lambda item: QUERIES[0] in str(item.body)
    _say(project, MODE="batch")
    project.run("night-1")
    _say(project, MODE="online")
    while (ended := project.run("night-1")).name == "COMPLETED Batched":
        assert project.fake.batches.received[0].n_looks < 20
    assert (ended.summary.accepted, _count_online(project)) == (3, 2)


def test_a_row_of_a_batch_counts_as_a_call_when_its_answer_is_taken(project: Project) -> None:
    project.fake.batches.ends_after = None
    _say(project, MODE="batch")
    project.run("night-1")
    assert (_get_context().progress.calls, project.fake.batches.received[0].n_looks) == (0, 0)
    project.fake.batches.end()
    project.run("night-1")
    assert _get_context().progress.calls == len(QUERIES)


def test_a_run_that_was_given_up_for_may_be_asked_in_batches_again(project: Project) -> None:
    project.fake.batches.ends_after = None
    hour = datetime.now().astimezone() - timedelta(hours=1)
    _say(project, MODE="batch", BY=f"{hour:%H:%M}")
    project.run("night-1")
    _say(project, MODE="online")
    project.run("night-1")
    _say(project, MODE="batch")
    assert project.run("night-1").name == "COMPLETED Batched"
    assert (len(project.fake.batches.received), _count_online(project)) == (2, 0)
    project.fake.batches.end()
    assert project.run("night-1").summary.accepted == 3


def test_a_chain_of_batch_and_online_prompts_takes_a_time(project: Project) -> None:
    reply = project.folder / "prompts" / "draft_reply" / "prompt.md"
    triage = project.folder / "prompts" / "triage_ticket" / "prompt.md"
    for path, mode in ((triage, "batch"), (reply, "online")):
        _set_mode(path, mode)
    hour = datetime.now().astimezone() - timedelta(hours=1)
    _say(project, BY=f"{hour:%H:%M}")
    (project.folder / "tickets.csv").write_text("ticket_id,body\nT-1,My parcel is lost and I am furious\n")
    project.fake.answer = lambda body: _make_urgent(answer_by_schema(body))
    given = {"source": "tickets.csv", "model": "openai:gpt-fake", "sink": f"file:{project.out}"}
    assert project.call("night-1", answer_urgent_tickets, **given).name == "COMPLETED Batched"
    ended = project.call("night-1", answer_urgent_tickets, **given)
    assert (ended.summary.accepted, len(project.fake.batches.received), _count_online(project)) == (1, 1, 1), ended


def _set_mode(path: Path, mode: str) -> None:
    head, front, body = path.read_text().split("---\n", 2)
    lines = [line for line in front.splitlines() if not line.startswith(("mode:", "by:"))]
    path.write_text("---\n".join((head, "".join(f"{line}\n" for line in [*lines, f"mode: {mode}"]), body)))


def _make_urgent(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"urgency": "high"} if "urgency" in found else found


def test_a_time_in_the_environment_does_not_halt_rows_that_are_asked_online(project: Project) -> None:
    _say(project, BY="06:00")
    assert project.run("night-1").name == "COMPLETED Waiting"
    assert _find(project).by_at is None


def test_a_run_that_begins_after_its_time_is_late_at_once_and_says_so(project: Project) -> None:
    now = datetime.now().astimezone()
    by = (now - timedelta(minutes=2)).replace(second=0, microsecond=0)
    _begin(project, scheduled_at=(now - timedelta(hours=2)).timestamp())
    _say(project, MODE="batch", BY=f"{by:%H:%M}")
    assert project.run("night-1").name == "COMPLETED Waiting"
    assert _find(project).by_at == by.timestamp()
    assert (project.fake.batches.received, _count_online(project)) == ([], 3)
    [note] = _get_context().notes
    assert note == (
        f"Run night-1 is to be done by {by:%Y-%m-%d %H:%M}, and batches may take longer: what none has answered is"
        " asked online."
    )


def test_a_time_counts_from_when_the_run_began_where_no_schedule_made_it(project: Project) -> None:
    now = datetime.now().astimezone()
    by = (now - timedelta(minutes=2)).replace(second=0, microsecond=0)
    _begin(project, started_at=(now - timedelta(hours=2)).timestamp())
    _say(project, MODE="batch", BY=f"{by:%H:%M}")
    project.run("night-1")
    assert _find(project).by_at == by.timestamp()


def test_a_new_time_holds_from_now_on_and_what_was_given_up_for_the_old_one_is_over(project: Project) -> None:
    now = time.time()
    project.fake.batches.ends_after = None
    _say(project, MODE="batch")
    project.run("night-1")
    project.ledger.write(lambda c: terms.change_mode(c, "night-1", None, now, by_at=now - 1.0))
    assert project.run("night-1").name == "COMPLETED Batched"
    project.ledger.write(lambda c: terms.change_mode(c, "night-1", None, time.time(), by_at=now + 86_400))
    assert project.run("night-1").name == "COMPLETED Batched"
    assert (len(project.fake.batches.received), _count_online(project)) == (2, 0)


def test_what_could_not_be_looked_at_is_a_note_beside_the_run(project: Project) -> None:
    project.fake.batches.ends_after = None
    _say(project, MODE="batch")
    project.run("night-1")
    project.monkeypatch.setenv("OPENAI_API_KEY", "sk-other-0123456789abcdef")
    project.run("night-1")
    [note] = _get_context().notes
    assert note.startswith("Provider batch ")
    assert "of run night-1: " in note


def _begin(project: Project, *, started_at: float | None = None, scheduled_at: float | None = None) -> None:
    """As an earlier pass would have left it, that was killed before it asked."""
    at = time.time()
    row = {"run_id": "night-1", "flow": "route-banking-query", "parameters": "{}", "started_at": started_at or at}
    first = {"run_id": "night-1", "flow_run_id": "of-night-1", "deployed": True, "started_at": at, "ended_at": at}

    def begin(connection: sa.Connection) -> None:
        connection.execute(sa.insert(runs), row | {"state": "running", "kind": "night"})
        connection.execute(sa.insert(passes), first | {"scheduled_at": scheduled_at})

    project.ledger.write(begin)
