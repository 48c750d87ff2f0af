from __future__ import annotations

import unicodedata
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight.approve import record_refusal
from overnight.failures import LedgerRefused, OvernightError, ReviewRefused
from overnight.ledger.manifests import list_last_batches, record_batches
from overnight.ledger.measures import Measures, record_measures
from overnight.ledger.offers import find_releases_of
from overnight.ledger.releases import find_release_rows
from overnight.ledger.runs import set_state
from overnight.records import Release, RunState
from overnight.report.why import explain_row, render_row
from tests.conftest import RUN, House


def _explain(house: House, row_id: str, run_id: str | None = None) -> dict[str, Any]:
    found = explain_row(row_id, run_id=run_id, ledger=house.ledger, place=house.home)
    # `why --json` prints it as it is.
    assert orjson.dumps(found)
    return found


def test_a_delivered_row_traces_back_to_everything(night: House) -> None:
    found = _explain(night, "r1")
    assert (found["run_id"], found["state"], found["input"]) == (RUN, "accepted", {"body": "a red car"})
    assert found["output"]["quote"] == "a red car"
    request = found["request"]
    assert request["text"].endswith("<query>{{ body }}</query>")
    assert orjson.loads(request["request"])["messages"][-1]["content"] == "Sort this: <query>a red car</query>"
    [attempt] = request["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["model_served"]) == (1, "accepted", "gpt-fake")
    assert "a red car" in orjson.loads(attempt["response"])["choices"][0]["message"]["content"]
    [release] = found["releases"]
    assert {a["reviewer"] for a in release["answers"]} == {"Ada"}
    assert (release["delivery"]["state"], release["held_as"]) == ("delivered", None)


def test_what_is_told_reads_from_input_to_delivery(night: House) -> None:
    told = render_row(_explain(night, "r1"))
    parts = [
        f"row r1 in run {RUN}",
        "  accepted",
        "a red car",
        "prompt text",
        "<query>{{ body }}</query>",
        "attempt 1: accepted",
        "status 200, stop reason stop, model served gpt-fake",
        "every row check and every rule of its batch passed",
        f"to {night.sink}",
    ]
    # The row may have been read in an earlier round than the one that decided.
    for review in (
        ("this row: item ", ": correct"),
        ("approved by Ada, by name alone (file)", "1 rows may leave, 1 are"),
    ):
        places = [told.find(part) for part in (*parts, *review, "delivery: delivered")]
        assert -1 not in places
        assert places == sorted(places)


def test_a_row_of_a_held_run_says_why_its_run_is_held(checked_night: House) -> None:
    checked_night.ledger.write(lambda c: set_state(c, RUN, RunState.HELD, "40 % of the rows were set aside."))
    told = render_row(_explain(checked_night, "r1"))
    assert "  why it is held: 40 % of the rows were set aside.\n" in told


@pytest.mark.parametrize(("row_id", "fate"), [("r1", "delivered"), ("r2", "held back")])
def test_what_another_run_did_with_a_row_is_told_as_that_run_s(night: House, row_id: str, fate: str) -> None:
    with night.ledger.reading() as connection:
        batches = list_last_batches(connection, RUN)
    night.begin("night-2", retries=RUN, now=2.0)
    night.ledger.write(lambda c: record_batches(c, "night-2", batches))
    assert f"\n  {fate} by run {RUN}" in render_row(_explain(night, row_id, "night-2"))
    assert "by run" not in render_row(_explain(night, row_id, RUN))


def test_figures_that_were_compared_with_nothing_are_not_said_to_be_as_before(night: House) -> None:
    kept = Measures(RUN, 1, "sort", "0" * 64, "{}", "{}", "[]", None, 3.0)
    for compared_with, words in ((None, "were compared with no run"), ("night-0", "nothing had changed")):
        night.ledger.write(lambda c, of=compared_with: record_measures(c, replace(kept, compared_with=of)))  # type: ignore[misc]
        told = render_row(_explain(night, "r1")).split("figures of its run")[1]
        assert words in told.splitlines()[1]


def test_a_held_row_says_what_its_reviewer_said(night: House) -> None:
    found = _explain(night, "r2")
    [release] = found["releases"]
    assert (release["held_as"], release["delivery"]) == ("wrong", None)
    assert "held: wrong" in render_row(found)


def test_a_row_set_aside_at_intake_has_its_reason_and_no_request(night: House) -> None:
    found = _explain(night, "r3")
    assert (found["state"], found["failure_class"], found["request"], found["releases"]) == (
        "quarantined",
        "missing_value",
        None,
        [],
    )
    assert "Row 3 has no value in" in render_row(found)


def test_a_refused_row_shows_the_answer_that_was_refused(night: House) -> None:
    found = _explain(night, "r4")
    assert (found["state"], found["request"]["quarantine"]["failure_class"]) == ("quarantined", "refusal")
    told = render_row(found)
    assert "refused for good" in told
    assert "The model refused: I [may](http://evil.example) not." in told


def test_a_pending_row_shows_every_attempt(night: House) -> None:
    found = _explain(night, "r5")
    assert [a["number"] for a in found["request"]["attempts"]] == [1, 2, 3, 4]
    assert "attempt 4 (again): failed" in render_row(found)


def test_a_row_waiting_for_a_person_says_to_where_it_would_go(checked_night: House) -> None:
    told = render_row(_explain(checked_night, "r1"))
    assert f"to {checked_night.sink}, offered" in told
    assert "round 0" not in told


def test_a_rejected_row_says_why_its_reviewer_rejected_it(house: House) -> None:
    release = house.offer(1)
    house.decide(release, house.answer(release, "reject").model_copy(update={"reason": "not this customer's tone"}))
    with house.ledger.reading() as connection:
        offered = find_releases_of(connection, find_release_rows(connection, release.release_id)[0].request_key, "r1")
    told = render_row({"row_id": "r1", "run_id": RUN, "input": None, "request": None, "releases": offered})
    assert "rejected by Ada" in told
    assert "because: not this customer's tone" in told


def _find_offered(house: House, release: Release, row_id: str) -> dict[str, Any]:
    with house.ledger.reading() as connection:
        [row] = [r for r in find_release_rows(connection, release.release_id) if r.row_id == row_id]
        [offered] = find_releases_of(connection, row.request_key, row_id)
    assert orjson.dumps(offered)
    return offered


def _render(offered: dict[str, Any]) -> str:
    return render_row({"row_id": "r1", "run_id": RUN, "input": None, "request": None, "releases": [offered]})


def _tells_nothing(house: House, release: Release) -> bool:
    """Whether all rows are told of alike, and no round is."""
    found = [_find_offered(house, release, f"r{n}") for n in range(1, release.n_rows + 1)]
    own = ("position", "payload")
    alike = [{name: value for name, value in one.items() if name not in own} for one in found]
    told = {_render(one) for one in found}
    return all(one == alike[0] for one in alike) and len(told) == 1 and "round" not in told.pop()


def _answer_all(house: House, release: Release, outcome: str, verdict: Any) -> None:
    answers = house.answer(release).model_copy(update={"items": {i.item: verdict for i in release.items}})
    assert house.submit(release, answers).outcome == outcome


def test_of_an_open_review_nothing_is_told_that_could_name_a_seed(house: House) -> None:
    release = house.offer(40)
    assert _tells_nothing(house, release)
    _answer_all(house, release, "missed", "correct")
    assert _tells_nothing(house, release)
    release = house.open_round(release)
    _answer_all(house, release, "more", "unsure")
    assert _tells_nothing(house, release)
    offered = _find_offered(house, release, "r1")
    assert (offered["review"], offered["answers"], offered["approval"]) == ("open", [], None)
    assert "its review is open" in _render(offered)


def test_after_a_review_all_of_its_rounds_are_told(house: House) -> None:
    release = house.offer(40)
    _answer_all(house, release, "missed", "correct")
    again = house.open_round(release)
    house.decide(again, house.answer(again, "hold"))
    offered = _find_offered(house, release, "r1")
    assert (offered["review"], [a["outcome"] for a in offered["answers"]]) == ("ended", ["missed", "approved"])
    told = _render(offered)
    assert "its review is open" not in told
    assert told.find("round 0: missed") < told.find("seeds were caught") < told.find("round 1: approved")


def test_what_a_refused_form_said_is_told_once_the_review_has_ended(house: House) -> None:
    release = house.offer(1)
    record_refusal(release, {"reviewer": "Bo"}, ReviewRefused("Item 1 has no verdict."), ledger=house.ledger, now=1.0)
    assert "Bo" not in _render(_find_offered(house, release, "r1"))
    again = house.open_round(release)
    house.decide(again, house.answer(again))
    assert "refused by Bo" in _render(_find_offered(house, again, "r1"))


def test_once_an_expired_approval_is_asked_for_again_its_items_are_told_no_more(house: House) -> None:
    release = house.offer(40, approval_s=0.0)
    house.approve(release)
    assert "findings" in _find_offered(house, release, "r1")["approval"]
    again = house.open_round(release)
    _answer_all(house, again, "missed", "correct")
    assert _tells_nothing(house, release)


def test_a_request_whose_rows_no_part_holds_is_told_alone(night: House) -> None:
    key = _explain(night, "r5")["request_key"]
    for part in (night.home / "parts").rglob("*.parquet"):
        part.unlink()
    found = _explain(night, key)
    assert (found["row_id"], found["input"]) == (None, {"body": "busy"})
    assert f"row {key}\n" in render_row(found)


def test_neither_the_prompt_s_folder_nor_the_source_is_needed(
    night: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (night.home / "source-1.csv").unlink()
    monkeypatch.chdir(tmp_path)
    assert not Path("prompts").exists()
    assert "<query>{{ body }}</query>" in render_row(_explain(night, "r1"))


def test_the_newest_run_that_holds_the_row_is_told_unless_one_is_named(night: House) -> None:
    night.begin("night-2")
    assert _explain(night, "r1")["run_id"] == RUN
    with pytest.raises(OvernightError, match="Row 'r1' is not in run night-2"):
        _explain(night, "r1", "night-2")


@pytest.mark.parametrize("row_id", ["r9", "", "%", "f" * 64])
def test_a_row_that_is_nowhere_is_refused_in_one_line(night: House, row_id: str) -> None:
    with pytest.raises(OvernightError, match="is not in any run") as caught:
        _explain(night, row_id)
    assert "\n" not in str(caught.value)


def test_what_was_offered_is_told_without_its_part_and_what_was_not_is_refused(night: House) -> None:
    night.begin("night-2")
    for part in (night.home / "parts").rglob("*.parquet"):
        part.unlink()
    found = _explain(night, "r1")
    assert (found["input"], found["output"]["quote"]) == ({"body": "a red car"}, "a red car")
    told = render_row(found)
    assert "the part that held it is gone or altered" in told
    assert "delivery: delivered" in told
    with pytest.raises(OvernightError, match="is not in any run"):
        _explain(night, "r3")


@pytest.mark.parametrize("row_id", ["r3", "r4", "r5"])
def test_only_an_accepted_row_is_told_to_have_passed_its_checks(night: House, row_id: str) -> None:
    assert "passed" not in render_row(_explain(night, row_id))


def test_a_row_that_was_not_asked_yet_is_not_told_to_have_passed(checked_night: House) -> None:
    checked_night.tamper("DELETE FROM run_batches WHERE stage != 'input'")
    told = render_row(_explain(checked_night, "r1"))
    assert "  pending" in told
    assert "passed" not in told


@pytest.mark.parametrize(
    "path",
    [
        ("row_id",),
        ("reason",),
        ("input", "body"),
        ("prompt", "files", "prompt.md"),
        ("request", "request"),
        ("request", "completion", "output"),
        ("request", "attempts", 0, "reasoning"),
        ("request", "attempts", 0, "response"),
        ("request", "attempts", 0, "message"),
        ("releases", 0, "answers", 0, "reviewer"),
        ("releases", 0, "delivery", "detail"),
    ],
    ids=str,
)
def test_control_characters_are_told_by_their_codes(night: House, path: tuple[Any, ...]) -> None:
    found = _explain(night, "r1")
    found["request"]["attempts"][0]["failure_class"] = "malformed"
    *steps, last = path
    reduce(getitem, steps, found)[last] = "red\x1b[2K \u202eder\x9b"
    told = render_row(found)
    assert not [c for c in told.replace("\n", "") if unicodedata.category(c)[0] == "C"]
    assert r"\u202eder\x9b" in told


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE requests SET input = replace(input, 'red', 'sad')", "input"),
        ("UPDATE prompts SET text = replace(text, 'Sort', 'Sell')", "prompt"),
        ("UPDATE prompts SET parameters = '{'", "prompt"),
    ],
)
def test_what_was_altered_is_not_told_as_it_was(checked_night: House, change: str, what: str) -> None:
    checked_night.tamper(change)
    with pytest.raises(LedgerRefused, match=f"The {what} of request [0-9a-f]{{12}} was altered"):
        _explain(checked_night, "r1")
