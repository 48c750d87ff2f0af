from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from overnight.cli import review
from overnight.ledger.runs import set_state
from overnight.records import Release, RunState
from tests.conftest import RUN, House
from tests.honest import find_seeds
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
    assert found["seeds"] == release.n_seeds > 0
    assert (found["effect"], found["reviewers"], found["code"]) == ("reversible", 1, False)
    assert list(found)[-1] == "items"
    seeds = find_seeds(house.ledger, release)
    shown = next(i for i in found["items"] if i["item"] not in seeds)
    text = f"text {shown['row_id'].removeprefix('r')}"
    # Nothing else: it must not tell what is a seed.
    assert shown == {
        "item": shown["item"],
        "row_id": shown["row_id"],
        "input": {"body": text},
        "output": {"label": "red", "quote": text},
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


def test_what_is_printed_says_who_has_to_read_and_whether_by_a_code(cli: Cli, house: House) -> None:
    house.offer(2, n_reviewers=2)
    found = json.loads(cli("review", RUN, "--json")[1])
    assert (found["reviewers"], found["code"]) == (2, True)


@pytest.mark.parametrize(
    ("option", "given", "why"),
    [("--answers", "answers.json", "on the page or in a file, not both"), ("--code", "123456", "too old by then")],
)
def test_what_the_page_asks_for_itself_is_refused_beside_it(
    cli: Cli, house: House, option: str, given: str, why: str
) -> None:
    house.offer(1)
    code, out, err = cli("review", RUN, "--web", option, given)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert why in err
    assert "Leave out" in err


def test_who_breaks_off_in_a_terminal_goes_on_where_they_were(
    cli: Cli, house: House, monkeypatch: pytest.MonkeyPatch, resumed: list[str]
) -> None:
    release = house.offer(5)
    seeds, n = find_seeds(house.ledger, release), len(release.items)
    keys = [["w", "made up"] if i.item in seeds else ["c"] for i in release.items]
    _type(monkeypatch, *keys[0], *keys[1])
    code, _, err = cli("review", RUN)
    assert (code, err.count("\n"), resumed) == (1, 1, [])
    assert f"2 of {n} verdicts are kept as a draft. Go on: `overnight review {RUN}`." in err
    assert house.fetch("SELECT * FROM review_answers") == []
    _type(monkeypatch, *(line for item in keys[2:] for line in item), "hold", "Ada")
    code, out, _ = cli("review", RUN)
    assert f"Going on at item 3 of {n}; 2 verdicts are kept from before." in out
    assert (code, resumed) == (0, [RUN])
    [(channel, verdicts)] = house.fetch("SELECT channel, verdicts FROM review_answers")
    assert (channel, len(json.loads(verdicts))) == ("terminal", n)
    assert list((house.home / "reviews").iterdir()) == []


def test_a_second_reader_is_asked_for_in_words_and_nothing_failed(
    cli: Cli, house: House, monkeypatch: pytest.MonkeyPatch, resumed: list[str]
) -> None:
    release = house.offer(1, n_reviewers=2)
    seeds = find_seeds(house.ledger, release)
    lines = [line for i in release.items for line in (["w", "made up"] if i.item in seeds else ["c"])]
    house.enrol("Ada")
    _type(monkeypatch, *lines, "release", "Ada", house.find_code("Ada", release) or "")
    code, _, err = cli("review", RUN)
    assert (code, resumed, err.count("\n")) == (0, [], 1)
    assert "have to be read by somebody else too." in err


def test_who_is_asked_for_more_goes_on_at_once_and_may_hold_what_nobody_read(
    cli: Cli, house: House, monkeypatch: pytest.MonkeyPatch, resumed: list[str]
) -> None:
    release = house.offer(60, max_bad_share=0.1)
    seeds = find_seeds(house.ledger, release)
    # Far too many wrong ones for the others to leave unread.
    lines = [line for i in release.items for line in (["w", "made up"] if i.item in seeds or i.item % 3 else ["c"])]
    _type(monkeypatch, *lines, "release", "Ada", "d", "hold", "")
    code, out, err = cli("review", RUN)
    assert (code, resumed) == (0, [RUN]), err
    assert "rows more" in out
    assert house.fetch("SELECT round, decision, outcome FROM review_answers ORDER BY round") == [
        (0, "release", "more"),
        (1, "hold", "approved"),
    ]
