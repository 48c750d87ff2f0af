from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overnight.approve import Decision
from overnight.approve.identify import CodeRefused
from overnight.cli.terminal import read_in_terminal
from overnight.failures import ReviewRefused
from overnight.page import Review
from overnight.records import Release, RunState
from tests.unit.page.conftest import SCHEMA, FakeDesk, find_outlook, make_release

_HELD = Decision("held", "No row may leave.")
Read = Callable[..., Decision]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk(says=[_HELD])


@pytest.fixture
def read(desk: FakeDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads a release by the lines that are typed, until they end."""

    def run(
        *lines: str, release: Release | None = None, reviewer: str | None = "Ada", code: str | None = None
    ) -> Decision:
        monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
        review = Review(
            release or make_release(),
            desk,
            find_outlook=find_outlook,
            find_standing=lambda _: desk.standing,
            schema=SCHEMA,
            home=tmp_path,
            channel="terminal",
        )
        return read_in_terminal(review, reviewer=reviewer, code=code)

    return run


def _list_verdicts(desk: FakeDesk, n: int = 0) -> dict[int, Any]:
    return dict(desk.handed[n].model_dump()["items"])


def test_verdicts_typed_in_a_terminal_become_answers(
    read: Read, desk: FakeDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read("x", "c", "W", "It is blue.", "unsure", "release", "Ada", reviewer=None) == _HELD
    assert _list_verdicts(desk) == {1: "correct", 2: {"wrong": "It is blue."}, 3: "unsure"}
    [given] = desk.handed
    assert (given.decision, given.reviewer, given.reason, desk.channel) == ("release", "Ada", "", "terminal")
    assert (given.release, given.round) == ("night-1-abc", 0)
    shown = capsys.readouterr().out
    assert ": 1,000 rows. You are shown 3 items." in shown
    for number in (1, 2, 3):
        assert f"{number} of 3, row r{number}" in shown
    assert "quote: red door 2" in shown
    assert "Read 3 of 3 items: 1 correct, 0 corrected, 1 wrong, 1 unsure." in shown


def test_what_could_hide_text_in_a_terminal_is_shown_by_its_code(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = "red\x1b[2K\rblue \u202eder\x07"
    release = make_release({"label": hidden, "sure": 1.0, "na\x1bme": 1}, body="zwei Zeilen\nüber 5 €")
    read("c", "hold", release=release)
    shown = capsys.readouterr().out
    assert r"label: red\x1b[2K\rblue \u202eder\x07" in shown
    assert r"na\x1bme: 1" in shown
    assert "body: zwei Zeilen\n        über 5 €" in shown
    assert "sure: 1.0" in shown


def test_wrong_and_a_rejection_are_asked_about_until_there_is_a_reason(read: Read, desk: FakeDesk) -> None:
    read("w", "", "  ", "x" * 2001, "It is blue.", "c", "c", "reject", "", "not the right rows")
    assert _list_verdicts(desk)[1] == {"wrong": "It is blue."}
    assert (desk.handed[0].decision, desk.handed[0].reason) == ("reject", "not the right rows")


def test_who_breaks_off_goes_on_at_the_next_item(
    read: Read, desk: FakeDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReviewRefused, match=r"2 of 3 verdicts are kept as a draft\. Go on: `overnight review night-1`"):
        read("c", "w", "It is blue.")
    read("c", "hold")
    shown = capsys.readouterr().out
    assert "Going on at item 3 of 3; 2 verdicts are kept from before." in shown
    assert _list_verdicts(desk) == {1: "correct", 2: {"wrong": "It is blue."}, 3: "correct"}
    assert "Going on" not in shown.split("Going on")[0]


def test_a_draft_goes_once_its_answers_were_taken(read: Read, tmp_path: Path) -> None:
    read("c", "c", "c", "hold")
    assert list((tmp_path / "reviews").iterdir()) == []


def test_undo_shows_the_item_again_whose_verdict_was_given_last(read: Read, desk: FakeDesk) -> None:
    read("z", "c", "u", "z", "c", "c", "back", "u", "hold")
    assert _list_verdicts(desk) == {1: "correct", 2: "correct", 3: "unsure"}


@pytest.mark.parametrize(
    ("typed", "changed"),
    [
        (("green", "", ""), {"label": "green"}),
        (("null", "", ""), {"label": None}),
        (("", "a blue door", "7"), {"quote": "a blue door", "n": 7}),
    ],
)
def test_an_edit_gives_the_fields_that_change(
    read: Read, desk: FakeDesk, typed: tuple[str, ...], changed: dict[str, Any]
) -> None:
    read("e", *typed, "c", "c", "hold")
    assert _list_verdicts(desk)[1] == {"corrected": changed}


def test_an_edit_that_does_not_fit_is_asked_again_with_what_is_wrong(
    read: Read, desk: FakeDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    read("e", "pink", "a blue door", "", "green", "c", "c", "hold")
    assert "does not fit the prompt's schema at label" in capsys.readouterr().out
    # What fits is not typed twice.
    assert _list_verdicts(desk)[1] == {"corrected": {"label": "green", "quote": "a blue door"}}


@pytest.mark.parametrize("typed", [("", "", ""), ("pink", "", "", "")])
def test_from_an_edit_that_comes_to_nothing_the_verdict_is_asked_again(
    read: Read, desk: FakeDesk, typed: tuple[str, ...]
) -> None:
    read("e", *typed, "u", "c", "c", "hold")
    assert _list_verdicts(desk)[1] == "unsure"


def test_a_code_that_is_refused_is_asked_for_again(
    read: Read, desk: FakeDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.is_coded, desk.says = True, [CodeRefused("The code of Ada is wrong."), _HELD]
    assert read("c", "c", "c", "hold", "12345", "111111", code="000000") == _HELD
    assert [given.code for given in desk.handed] == ["000000", "111111"]
    shown = capsys.readouterr().out
    assert "The code of Ada is wrong." in shown
    assert "A code has 6 digits." in shown


@pytest.mark.parametrize("typed", [(), ("",)])
def test_without_another_code_the_verdicts_are_kept(
    read: Read, desk: FakeDesk, typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    desk.is_coded, desk.says = True, [CodeRefused("The code of Ada is wrong."), _HELD]
    with pytest.raises(ReviewRefused, match="3 of 3 verdicts are kept as a draft"):
        read("c", "c", "c", "hold", "000000", *typed)
    assert read("hold", "111111") == _HELD
    assert "Going on at the decision; 3 verdicts are kept from before." in capsys.readouterr().out


def test_after_any_other_refusal_the_verdicts_are_kept(read: Read, desk: FakeDesk) -> None:
    desk.says = [ReviewRefused("'Ada' is not enrolled as a reviewer."), _HELD]
    with pytest.raises(ReviewRefused, match=r"^'Ada' is not enrolled as a reviewer\. 3 of 3 verdicts are kept as a"):
        read("c", "c", "c", "hold")
    assert read("hold") == _HELD


def test_answers_to_what_was_decided_elsewhere_say_so(read: Read, desk: FakeDesk) -> None:
    desk.says, desk.standing = [ReviewRefused("Release night-1-abc was held by Ben already.")], RunState.HELD
    with pytest.raises(ReviewRefused, match=r"was decided elsewhere \(held\); the verdicts of this terminal"):
        read("c", "c", "c", "hold")


@pytest.mark.parametrize("outcome", ["more", "missed"])
def test_another_round_is_read_at_once(
    read: Read, desk: FakeDesk, outcome: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.says = [Decision(outcome, "Read 1 row more."), _HELD]
    desk.rounds = [make_release({"label": "green", "quote": "door", "n": 9}, round=1)]
    # An empty line is the name that was given before.
    assert read("c", "c", "c", "release", "Ada", "u", "hold", "", reviewer=None) == _HELD
    assert (desk.handed[1].round, desk.handed[1].reviewer, _list_verdicts(desk, 1)) == (1, "Ada", {1: "unsure"})
    assert "Read 1 row more." in capsys.readouterr().out


def test_what_is_broken_off_in_a_later_round_is_kept_too(read: Read, desk: FakeDesk) -> None:
    following = make_release(
        {"label": "green", "quote": "door", "n": 9}, {"label": "red", "quote": "", "n": 1}, round=1
    )
    desk.says, desk.rounds = [Decision("more", "Read 2 rows more."), _HELD], [following]
    with pytest.raises(ReviewRefused, match="1 of 2 verdicts are kept"):
        read("c", "c", "c", "release", "u")
    read("c", "hold", release=following)
    assert _list_verdicts(desk, 1) == {1: "unsure", 2: "correct"}


def test_somebody_else_is_asked_for_elsewhere(read: Read, desk: FakeDesk) -> None:
    desk.says = [Decision("second", "3 rows have to be read by somebody else too.", is_for_others=True)]
    assert read("c", "c", "c", "release").outcome == "second"


def test_in_a_later_round_what_nobody_read_is_held_without_reading_on(read: Read, desk: FakeDesk) -> None:
    read("c", "d", "release", "hold", release=make_release(round=1))
    assert (desk.handed[0].decision, desk.handed[0].items) == ("hold", {})


def test_in_the_first_round_what_is_open_is_read_or_all_is_rejected(read: Read, desk: FakeDesk) -> None:
    read("c", "d", "hold", "back", "c", "d", "reject", "The wrong night.")
    assert (desk.handed[0].decision, desk.handed[0].items) == ("reject", {})


def test_a_draft_that_cannot_be_written_is_said(read: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reviews").write_text("a file where the folder would be")
    read("c", "c", "c", "hold")
    assert "cannot be written" in capsys.readouterr().out
