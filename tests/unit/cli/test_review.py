from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from overnight.approve import Answers
from overnight.cli import review
from overnight.cli.terminal import ask_in_terminal
from overnight.ledger.runs import set_state
from overnight.records import Release, ReviewItem, ReviewPolicy, RunState
from tests.conftest import RUN, House
from tests.honest import find_seeds
from tests.unit.cli.conftest import Cli


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _type(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))


def _ask(release: Release, reviewer: str | None = None) -> Answers:
    return ask_in_terminal(release, reviewer=reviewer, code=None, demands_code=False)


def test_what_to_read_is_printed_as_json_and_nothing_is_decided(cli: Cli, house: House) -> None:
    release = house.offer(2)
    code, out, err = cli("review", RUN, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["run_id"], found["release"], found["round"], found["rows"]) == (RUN, release.release_id, 0, 2)
    assert found["seeds"] == release.n_seeds > 0
    seeds = find_seeds(house.ledger, release)
    [shown] = [i for i in found["items"] if i["row_id"] == "r1" and i["item"] not in seeds]
    # Nothing else: it must not tell what is a seed.
    assert shown == {
        "item": shown["item"],
        "row_id": "r1",
        "input": {"body": "text 1"},
        "output": {"label": "red", "quote": "text 1"},
    }
    assert {frozenset(i) for i in found["items"]} == {frozenset(shown)}
    assert house.fetch("SELECT * FROM review_answers") == []


def test_without_a_run_the_newest_that_waits_is_reviewed(cli: Cli, house: House) -> None:
    for n in (1, 2):
        house.offer(1, run_id=f"night-{n}")
        house.ledger.write(lambda c, n=n: set_state(c, f"night-{n}", RunState.WAITING))  # type: ignore[misc]
        house.tamper(f"UPDATE runs SET started_at = {n} WHERE run_id = 'night-{n}'")  # noqa: S608 - a number of ours
    _, out, err = cli("review", "--json")
    assert json.loads(out)["run_id"] == "night-2"
    assert "2 runs wait; this is the newest. The others: night-1." in err


def test_without_a_terminal_nobody_is_asked_and_it_says_how_to_go_on(
    cli: Cli, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = house.offer(2)
    monkeypatch.setattr(sys, "stdin", io.StringIO("c\nc\nAda\nrelease\n"))
    code, _, err = cli("review", RUN)
    assert (code, err.count("\n")) == (1, 1)
    assert f"Run {RUN} waits for verdicts on {len(release.items)} items" in err
    assert "in a terminal or with --web, or print them with --json" in err
    assert house.fetch("SELECT * FROM review_answers") == []


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


def _write_answers(house: House, folder: Path, release: Release) -> str:
    path = folder / "answers.json"
    path.write_text(house.answer(release).model_dump_json())
    return str(path)


@pytest.mark.parametrize("verdict", ["approved by Ada", "rejected", "held"])
def test_answers_to_a_run_that_is_decided_are_refused_and_nothing_is_resumed(
    cli: Cli, house: House, tmp_path: Path, resumed: list[str], verdict: str
) -> None:
    release = house.offer(1)
    decision: Any = "reject" if verdict == "rejected" else "release"
    house.decide(release, house.answer(release, decision, r1="wrong" if verdict == "held" else "correct"))
    code, out, err = cli("review", RUN, "--answers", _write_answers(house, tmp_path, release))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"Run {RUN} was {verdict} already, and these answers are not taken" in err
    assert f"`overnight review {RUN}` without answers" in err
    assert resumed == []
    assert house.fetch("SELECT count(*) FROM review_answers") == [(1,)]


def test_a_decided_run_without_answers_is_continued_as_decided(cli: Cli, house: House, resumed: list[str]) -> None:
    house.approve(house.offer(1))
    code, _, err = cli("review", RUN)
    assert (code, resumed) == (0, [RUN])
    assert f"Approved by Ada: 1 rows may leave, 0 are held. The decision on run {RUN} is recorded." in err


def test_json_without_answers_only_prints_even_when_decided(cli: Cli, house: House, resumed: list[str]) -> None:
    release = house.offer(1)
    house.approve(release)
    code, out, err = cli("review", RUN, "--json")
    assert (code, err, resumed) == (0, "", [])
    assert json.loads(out)["release"] == release.release_id


def test_a_decision_whose_approval_expired_is_taken_anew(
    cli: Cli, house: House, tmp_path: Path, resumed: list[str]
) -> None:
    release = house.offer(1, approval_s=0.0)
    house.approve(release)
    again = house.open_round(release)
    code, _, _ = cli("review", RUN, "--answers", _write_answers(house, tmp_path, again))
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


def _type_verdicts(house: House, release: Release, **keys: str) -> list[str]:
    """What is typed for each item in turn: seeds are wrong, and each wrong one is asked about."""
    seeds = find_seeds(house.ledger, release)
    typed = ["w" if i.item in seeds else keys.get(i.row_id, "c") for i in release.items]
    return [line for key in typed for line in ([key, ""] if key.lower() == "w" else [key])]


def _list_verdicts(answers: Answers) -> dict[int, Any]:
    return {n: v if isinstance(v, str) else v.model_dump() for n, v in answers.items.items()}


def test_verdicts_typed_in_a_terminal_become_answers(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = house.offer(3)
    _type(monkeypatch, "x", *_type_verdicts(house, release, r2="W", r3="unsure"), "Ada", "release")
    given = _ask(release)
    expected = house.answer(release, r2="wrong", r3="unsure")
    assert {n: v if isinstance(v, str) else next(iter(v)) for n, v in _list_verdicts(given).items()} == expected.items
    assert (given.decision, given.reviewer, given.reason) == ("release", "Ada", "")
    n, n_seeds, shown = len(release.items), release.n_seeds, capsys.readouterr().out
    assert f": 3 rows. You are shown {n} items." in shown
    for item in release.items:
        assert f"{item.item} of {n}, row {item.row_id}" in shown
    assert "quote: text 2" in shown
    assert f"1 correct, 0 corrected, {1 + n_seeds} wrong, 1 unsure" in shown


def test_what_could_hide_text_in_a_terminal_is_shown_by_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = "red\x1b[2K\rblue \u202eder\x07"
    item = ReviewItem(1, "r1\x1b[8m", {"body": "zwei Zeilen\nüber 5 €"}, {"label": hidden, "sure": 1.0})
    _type(monkeypatch, "c", "release")
    release = Release(
        *("night-1-0a", RUN, "0" * 64, "file:/out.jsonl", "replace", "reversible", 1, 0, (item,)),
        n_seeds=0,
        policy=ReviewPolicy(),
    )
    _ask(release, "Ada")
    shown = capsys.readouterr().out
    assert r"label: red\x1b[2K\rblue \u202eder\x07" in shown
    assert r"row r1\x1b[8m" in shown
    assert "body: zwei Zeilen\n        über 5 €" in shown
    assert "sure: 1.0" in shown


def test_a_rejection_in_a_terminal_asks_until_there_is_a_reason(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    release = house.offer(1)
    _type(monkeypatch, *_type_verdicts(house, release), "reject", "", "not the right rows")
    given = _ask(release, "Ada")
    assert (given.decision, given.reason, given.reviewer) == ("reject", "not the right rows", "Ada")
