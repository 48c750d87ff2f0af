from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import review
from overnight.cli.review import _ask_in_terminal
from overnight.failures import ReviewRefused
from overnight.ledger.runs import set_state
from overnight.records import Release, ReviewItem, RunState
from tests.conftest import RUN, House
from tests.unit.cli.conftest import Cli


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _type(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))


def test_what_to_read_is_printed_as_json_and_nothing_is_decided(cli: Cli, house: House) -> None:
    release = house.offer(2)
    code, out, err = cli("review", RUN, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["run_id"], found["release"], found["round"], found["rows"]) == (RUN, release.release_id, 0, 2)
    assert found["items"][0] == {
        "item": 1,
        "row_id": "r1",
        "input": {"body": "text 1"},
        "output": {"label": "red", "quote": "text 1"},
    }
    assert house.fetch("SELECT * FROM review_answers") == []


def test_without_a_run_the_newest_that_waits_is_reviewed(cli: Cli, house: House) -> None:
    for n in (1, 2):
        house.offer(1, run_id=f"night-{n}")
        house.ledger.write(lambda c, n=n: set_state(c, f"night-{n}", RunState.WAITING))  # type: ignore[misc]
        house.tamper(f"UPDATE runs SET started_at = {n} WHERE run_id = 'night-{n}'")  # noqa: S608 - a number of ours
    _, out, err = cli("review", "--json")
    assert json.loads(out)["run_id"] == "night-2"
    assert "2 runs wait; this is the newest. The others: night-1." in err


def test_without_a_terminal_and_answers_it_says_how_to_go_on(cli: Cli, house: House) -> None:
    house.offer(2)
    code, _, err = cli("review", RUN)
    assert code == 1
    assert f"Run {RUN} waits for verdicts on 2 rows" in err


@pytest.mark.parametrize("text", ["", "[]", '{"decision": "release", "items": {}, "approved": true}'])
def test_answers_that_do_not_fit_are_one_line_and_decide_nothing(
    cli: Cli, house: House, tmp_path: Path, text: str
) -> None:
    house.offer(1)
    (tmp_path / "answers.json").write_text(text)
    code, _, err = cli("review", RUN, "--answers", str(tmp_path / "answers.json"), "--reviewer", "Ada")
    assert (code, err.count("\n")) == (1, 1)
    assert house.fetch("SELECT * FROM approvals") == []


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were continued; none is."""
    found: list[str] = []

    def resume(run_id: str, *_: object, **__: object) -> int:
        found.append(run_id)
        return 0

    monkeypatch.setattr(review, "resume_run", resume)
    return found


def _write_answers(folder: Path, release: Release) -> str:
    path = folder / "answers.json"
    path.write_text(house.answer(release).model_dump_json())
    return str(path)


@pytest.mark.parametrize("verdict", ["approved by Ada", "rejected", "held"])
def test_answers_to_a_run_that_is_decided_are_refused_and_nothing_is_resumed(
    cli: Cli, house: House, tmp_path: Path, resumed: list[str], verdict: str
) -> None:
    release = house.offer(1)
    decision: Any = "reject" if verdict == "rejected" else "release"
    house.decide(release, house.answer(release, decision, **({"r1": "wrong"} if verdict == "held" else {})))
    code, out, err = cli("review", RUN, "--answers", _write_answers(tmp_path, release))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"Run {RUN} was {verdict} already, and these answers are not taken" in err
    assert f"`overnight review {RUN}` without answers" in err
    assert resumed == []
    assert house.fetch("SELECT count(*) FROM review_answers") == [(1,)]


def test_a_decided_run_without_answers_is_continued_as_decided(cli: Cli, house: House, resumed: list[str]) -> None:
    house.approve(house.offer(1))
    code, _, err = cli("review", RUN)
    assert (code, resumed) == (0, [RUN])
    assert "is approved by Ada: 1 rows may leave, 0 are held" in err


def test_json_without_answers_only_prints_even_when_decided(cli: Cli, house: House, resumed: list[str]) -> None:
    release = house.offer(1)
    house.approve(release)
    code, out, err = cli("review", RUN, "--json")
    assert (code, err, resumed) == (0, "", [])
    assert json.loads(out)["release"] == release.release_id


def test_a_decision_whose_approval_expired_is_taken_anew(
    cli: Cli, house: House, tmp_path: Path, resumed: list[str]
) -> None:
    release = house.offer(1)
    house.approve(release, approval_s=0.0)
    code, _, _ = cli("review", RUN, "--answers", _write_answers(tmp_path, release))
    assert (code, resumed) == (0, [RUN])
    assert house.fetch("SELECT round FROM approvals ORDER BY round") == [(0,), (1,)]


def test_answers_that_name_no_reviewer_say_how_to(cli: Cli, house: House, tmp_path: Path, resumed: list[str]) -> None:
    house.offer(1)
    (tmp_path / "answers.json").write_text('{"decision": "release", "items": {"1": "correct"}}')
    code, _, err = cli("review", RUN, "--answers", str(tmp_path / "answers.json"))
    assert (code, err.count("\n"), resumed) == (1, 1, [])
    assert "Give --reviewer NAME" in err


def test_an_answers_file_that_is_not_there_is_one_line(cli: Cli, house: House) -> None:
    house.offer(1)
    code, _, err = cli("review", RUN, "--answers", "nothing.json")
    assert (code, err.count("\n")) == (1, 1)
    assert "answers file nothing.json cannot be read" in err


def test_verdicts_typed_in_a_terminal_become_answers(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = house.offer(3)
    _type(monkeypatch, "c", "x", "W", "unsure", "Ada", "release")
    expected = house.answer(release, r2="wrong", r3="unsure").model_copy(update={"reason": ""})
    assert _ask_in_terminal(release, None) == expected
    shown = capsys.readouterr().out
    assert ": 3 rows. You are shown 3." in shown
    assert "2 of 3, row r2" in shown
    assert "quote: text 2" in shown
    assert "1 correct, 1 wrong, 1 unsure" in shown


def test_what_could_hide_text_in_a_terminal_is_shown_by_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = "red\x1b[2K\rblue \u202eder\x07"
    item = ReviewItem(1, "r1\x1b[8m", {"body": "zwei Zeilen\nüber 5 €"}, {"label": hidden, "sure": 1.0})
    _type(monkeypatch, "c", "release")
    _ask_in_terminal(
        Release("night-1-0a", RUN, "0" * 64, "file:/out.jsonl", "replace", "reversible", 1, 0, (item,)), "Ada"
    )
    shown = capsys.readouterr().out
    assert r"label: red\x1b[2K\rblue \u202eder\x07" in shown
    assert r"row r1\x1b[8m" in shown
    assert "body: zwei Zeilen\n        über 5 €" in shown
    assert "sure: 1.0" in shown


def test_a_rejection_in_a_terminal_asks_until_there_is_a_reason(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _type(monkeypatch, "c", "reject", "", "not the right rows")
    given = _ask_in_terminal(house.offer(1), "Ada")
    assert (given.decision, given.reason, given.reviewer) == ("reject", "not the right rows", "Ada")


def test_without_a_terminal_nobody_is_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("c\nrelease\n\nAda\n"))
    with pytest.raises(ReviewRefused, match="in a terminal, or print them with --json"):
        _ask_in_terminal(house.offer(1), None)
