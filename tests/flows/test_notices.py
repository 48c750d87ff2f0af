"""A flow tells people where it waits and where it ends, once; the reminder, with its time given."""

from __future__ import annotations

import os

import pytest
from prefect.logging import disable_run_logger

from flows.remind_reviewers import remind_reviewers
from overnight.failures import OvernightError
from overnight.ledger import open_ledger
from overnight.ledger.notices import record_told
from overnight.settings import Settings
from tasks.notify import notify_late, notify_unopened
from tests.fakes.people import People
from tests.fakes.provider import Scripted
from tests.fakes.waits import FLOW_RUN, ROW_TEXT, record_outcome, record_wait
from tests.flows.conftest import QUERIES, Project

HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def settings(people: People) -> Settings:
    return Settings.from_env()


def _remind(settings: Settings, now: float) -> int:
    with disable_run_logger():
        return notify_late(settings, open_ledger(settings.ledger_url), now)


def _refuse_key(project: Project) -> None:
    project.fake.answer = lambda _: Scripted(status=401, body={"error": {"message": "Incorrect API key"}})


def test_a_run_that_waits_tells_people_once_a_round_and_nothing_of_a_row(project: Project, people: People) -> None:
    project.monkeypatch.setenv("OVERNIGHT_WAIT", "1")
    project.monkeypatch.setenv("OVERNIGHT_WAITS_S", "1")
    assert project.run("night-1").summary.state == "waiting"
    [notice] = people.notices
    assert notice["title"] == "Run night-1 waits for a person"
    assert "3 rows wait to be sent to file:" in notice["message"]
    assert "`overnight review night-1 --web`, or in Prefect: http" in notice["message"]
    assert not [query for query in QUERIES if query in notice["message"]]
    # The flow begins from its top, comes to its gate, and rings once more: nobody is told twice.
    project.run("night-1")
    assert len(people.notices) == 1


def test_a_run_by_hand_tells_nobody_since_somebody_stands_there(project: Project, people: People) -> None:
    project.run("night-1")
    _refuse_key(project)
    (project.folder / "queries.csv").write_text("text\nanother question\n")
    assert project.run("night-2").name == "FAILED Halted"
    assert people.notices == []


def test_a_run_that_halts_says_why_once(project: Project, people: People) -> None:
    project.monkeypatch.setenv("OVERNIGHT_WAIT", "1")
    _refuse_key(project)
    for _ in range(2):
        assert project.run("night-1").name == "FAILED Halted"
    [notice] = people.notices
    assert (notice["title"], notice["type"]) == ("Run night-1 has halted", "failure")
    assert "Run night-1 halted: " in notice["message"]


def test_what_nobody_foresaw_is_told_without_its_words(project: Project, people: People) -> None:
    project.monkeypatch.setenv("OVERNIGHT_WAIT", "1")
    row = QUERIES[0]

    def fail(*_: object) -> None:
        raise ZeroDivisionError(row)

    project.monkeypatch.setattr("flows.route_banking_query.check_batches", fail)
    assert project.run("night-1").name == "FAILED Failed"
    [notice] = people.notices
    assert "unforeseen, ZeroDivisionError" in notice["message"]
    assert row not in notice["message"]


def test_a_run_that_could_not_be_opened_is_told_of_where_it_was_deployed(settings: Settings, people: People) -> None:
    error = OvernightError("The ledger is damaged.")
    with disable_run_logger():
        for deployed in (False, True):
            notify_unopened("sort", error, deployed=deployed)
    [notice] = people.notices
    assert notice["title"] == "Flow sort has halted"
    assert "The ledger is damaged." in notice["message"]


def test_people_who_cannot_be_told_stop_no_run_and_are_told_later(project: Project, people: People) -> None:
    project.monkeypatch.setenv("OVERNIGHT_WAIT", "1")
    _refuse_key(project)
    people.status = 503
    assert project.run("night-1").summary.state == "halted"
    people.status = 200
    project.run("night-1")
    assert people.titles == ["Run night-1 has halted"] * 2


def test_a_malformed_address_is_refused_before_any_call(project: Project, people: People) -> None:
    project.monkeypatch.setenv("OVERNIGHT_NOTIFY", "slack://tok-en/secret")
    ended = project.run("night-1")
    assert (ended.name, project.fake.calls) == ("FAILED Halted", [])
    assert "The address 1 of OVERNIGHT_NOTIFY (slack://…) is no URL" in str(ended.state.message)
    assert "tok-en" not in str(ended.state.message)


@pytest.mark.parametrize(("waits_d", "last_s"), [(7.0, DAY), (1.0, 6 * HOUR)])
def test_people_are_reminded_in_the_last_day_or_the_last_quarter_once(
    settings: Settings, people: People, waits_d: float, last_s: float
) -> None:
    record_wait(open_ledger(settings.ledger_url), at=0.0, waits_d=waits_d)
    ends = waits_d * DAY
    assert [_remind(settings, ends - last_s + late) for late in (-1.0, 0.0, HOUR)] == [0, 1, 0]
    [notice] = people.notices
    assert (notice["type"], notice["title"][:26]) == ("warning", "Run night-1 stops waiting ")
    assert FLOW_RUN in notice["message"]
    assert ROW_TEXT not in notice["message"]


def test_people_are_told_once_that_a_run_has_stopped_waiting(settings: Settings, people: People) -> None:
    record_wait(open_ledger(settings.ledger_url), at=0.0)
    assert [_remind(settings, 7 * DAY + late) for late in (0.0, HOUR)] == [1, 0]
    assert people.titles == ["Run night-1 has stopped waiting"]


def test_another_round_has_a_time_of_its_own(settings: Settings, people: People) -> None:
    ledger = open_ledger(settings.ledger_url)
    release = record_wait(ledger, at=0.0)
    assert _remind(settings, 6.5 * DAY) == 1
    record_outcome(ledger, release, "second", at=6.6 * DAY)
    assert [_remind(settings, days * DAY) for days in (7.5, 13.5)] == [0, 1]
    assert people.titles == ["Run night-1 stops waiting in 12 hours", "Run night-1 stops waiting in 2 hours"]


def test_a_reminder_that_reached_nobody_is_tried_again(settings: Settings, people: People) -> None:
    record_wait(open_ledger(settings.ledger_url), at=0.0)
    people.status = 500
    assert _remind(settings, 6.5 * DAY) == 0
    people.status = 200
    assert _remind(settings, 6.6 * DAY) == 1


def test_the_flow_looks_into_the_ledger_and_tells(settings: Settings, people: People) -> None:
    release = record_wait(open_ledger(settings.ledger_url), at=0.0)
    open_ledger(settings.ledger_url).write(
        lambda c: record_told(c, "night-1", "waiting", f"{release.release_id}:0", 1.0)
    )
    assert remind_reviewers() == 1
    assert people.titles == ["Run night-1 has stopped waiting"]
    del os.environ["OVERNIGHT_NOTIFY"]
    assert remind_reviewers() == 0
