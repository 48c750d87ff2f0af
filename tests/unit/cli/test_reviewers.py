"""`overnight reviewers`, as a person meets it."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pyotp
import pytest

from overnight.approve.identify import CodeRefused, Identity, identify
from overnight.cli.reviewers import add_reviewer, drop_reviewer, make_uri, show_reviewers
from overnight.failures import ApprovalRefused, OvernightError
from overnight.ledger import Ledger
from overnight.ledger.reviewers import ReviewerRecord
from overnight.report.reviews import describe_record
from tests.conftest import House

_SECRET = re.compile(r"type it in \(time-based, 6 digits\): ([A-Z2-7 ]+)\n")
Said = Callable[..., str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _at_home(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVERNIGHT_HOME", str(house.home))
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", house.ledger.url)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a command; what it printed."""

    def run(command: Callable[..., None], *given: Any, **how: Any) -> str:
        command(*given, **how)
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def _add(name: str = "Ada", *, by: str | None = "root", again: bool = False) -> None:
    add_reviewer(name, by=by, again=again)


def _read_secret(out: str) -> str:
    found = _SECRET.search(out)
    assert found
    return found[1].replace(" ", "")


def _identify(house: House, name: str, code: str, at: float) -> Identity:
    key_file, ledger = house.settings.approval_key, house.ledger
    return ledger.write(
        lambda c: identify(c, name, code, at=at, now=at, is_demanded=True, starter=None, key_file=key_file)
    )


def _type(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))


def test_without_reviewers_the_list_says_how_to_enrol(said: Said) -> None:
    out = said(show_reviewers, as_json=False)
    assert "where no code is demanded, reviewers are who they say they are. `overnight reviewers add NAME`" in out
    assert json.loads(said(show_reviewers, as_json=True)) == []


def test_the_secret_that_is_shown_makes_codes_that_are_taken(said: Said, house: House) -> None:
    secret = _read_secret(said(_add))
    uri = make_uri("Ada", secret)
    assert uri == f"otpauth://totp/overnight:Ada?secret={secret}&issuer=overnight"
    app, at = pyotp.parse_uri(uri), time.time()
    assert isinstance(app, pyotp.TOTP)
    assert _identify(house, "Ada", app.at(int(at)), at) == Identity("Ada", "code")


def test_a_name_with_a_space_and_other_letters_makes_an_uri_that_apps_read(said: Said) -> None:
    secret = _read_secret(said(_add, "Zoë Ł"))
    app = pyotp.parse_uri(make_uri("Zoë Ł", secret))
    assert (app.name, app.issuer, app.secret) == ("Zoë Ł", "overnight", secret)


def test_the_code_is_drawn_and_says_what_to_do_next(said: Said) -> None:
    out = said(_add)
    drawn = [line for line in out.splitlines() if set(line) <= set(" ▀▄█") and line]
    assert len(drawn) > 20
    assert len({len(line) for line in drawn}) == 1
    assert "From now on every decision on a review needs" in out.splitlines()[-1]


def test_the_secret_is_shown_once_and_written_nowhere(said: Said, house: House) -> None:
    secret = _read_secret(said(_add))
    assert secret not in said(show_reviewers, as_json=True).replace(" ", "")
    raw = pyotp.TOTP(secret).byte_secret()
    kept = [path.read_bytes() for path in house.home.rglob("*") if path.is_file()]
    assert len(kept) > 1
    assert not [data for data in kept if secret.encode() in data or raw in data]


def test_a_terminal_that_cannot_draw_shows_the_secret_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", plain)
    _add()
    plain.flush()
    out = plain.buffer.getvalue().decode("latin-1")
    assert "█" not in out
    assert _read_secret(out)


def test_the_first_reviewer_makes_the_ledger_and_the_key(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "new"
    monkeypatch.setenv("OVERNIGHT_HOME", str(home))
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", "")
    assert "Ada is enrolled" in said(_add)
    assert {"ledger.sqlite", "approval.key"} <= {path.name for path in home.iterdir()}


@pytest.mark.parametrize("name", ["Ada", "ada", " ADA "])
def test_who_is_enrolled_is_not_enrolled_again_by_mistake(said: Said, name: str) -> None:
    said(_add)
    with pytest.raises(OvernightError, match=r"^Ada is enrolled already, by root since .* --again"):
        _add(name)


def test_a_lost_phone_is_replaced_and_the_old_secret_stops(said: Said, house: House) -> None:
    old = _read_secret(said(_add))
    new = _read_secret(said(_add, "ada", again=True))
    at = time.time()
    with pytest.raises(CodeRefused):
        _identify(house, "Ada", pyotp.TOTP(old).at(int(at)), at)
    assert _identify(house, "Ada", pyotp.TOTP(new).at(int(at)), at).name == "Ada"


@pytest.mark.parametrize("name", ["", " ", "-x", ".", "_a", "a" * 61, "a\u202eb", "a/b", "a'b", "a\x00"])
def test_a_name_that_could_mislead_is_refused(house: House, name: str) -> None:
    with pytest.raises(OvernightError, match="cannot be a reviewer's name"):
        _add(name)
    assert house.fetch("SELECT * FROM reviewers") == []


@pytest.mark.parametrize("name", ["a", "7", "Ada  Lovelace", "J. R.", "x-y_z.1", "a" * 60])
def test_plain_names_are_taken(said: Said, name: str) -> None:
    assert f"{' '.join(name.split())} is enrolled." in said(_add, name)


def test_a_key_that_is_lost_is_not_made_anew_for_the_next_reviewer(said: Said, house: House) -> None:
    said(_add)
    house.settings.approval_key.unlink()
    with pytest.raises(ApprovalRefused, match="cannot be read from"):
        _add("Bert")
    assert house.fetch("SELECT name FROM reviewers") == [("Ada",)]
    assert not house.settings.approval_key.exists()


def test_in_a_terminal_codes_are_asked_until_one_is_right(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = iter(["12", "wrong", "right", "right"])
    shown: list[str] = []

    def prompt(text: str) -> str:
        shown.append(capsys.readouterr().out)
        kind = next(given)
        code = pyotp.TOTP(_read_secret(shown[0])).at(int(time.time()))
        return {"right": code, "wrong": f"{(int(code) + 1) % 10**6:06}"}.get(kind, kind)

    _type(monkeypatch)
    monkeypatch.setattr(click, "prompt", prompt)
    _add()
    assert "is not 6 digits" in shown[1]
    assert "is wrong" in shown[2]
    assert "Ada is enrolled." in capsys.readouterr().out
    # The right one is burned, and wrong ones beside the secret are not counted.
    [(last_step, n_wrong)] = house.fetch("SELECT last_step, n_wrong FROM reviewers")
    assert abs(last_step - time.time() // 30) <= 1
    assert n_wrong == 0


def test_who_breaks_off_is_enrolled_and_told_how_to_begin_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _type(monkeypatch, "12")
    with pytest.raises(OvernightError, match=r'no code was right yet.*`overnight reviewers add "Ada" --again`'):
        _add()
    assert house.fetch("SELECT name FROM reviewers") == [("Ada",)]


def test_who_is_removed_is_off_the_list(said: Said) -> None:
    said(_add)
    said(_add, "Bert")
    assert "Nobody is enrolled" not in said(drop_reviewer, "ada")
    assert [one["name"] for one in json.loads(said(show_reviewers, as_json=True))] == ["Bert"]
    assert "until somebody is enrolled nobody can decide" in said(drop_reviewer, "Bert")
    assert "until somebody is enrolled nobody can decide" in said(show_reviewers, as_json=False)
    with pytest.raises(OvernightError, match="'Bert' is not enrolled"):
        drop_reviewer("Bert")


def test_who_enrolled_is_the_name_of_the_login_by_default(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    said(_add, by=None)
    [found] = json.loads(said(show_reviewers, as_json=True))
    assert (found["name"], found["enrolled_by"]) == ("Ada", "grace")


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            ReviewerRecord(0, 0, 0, 0, None, 0, 0),
            "shown no seeds yet; 0 decisions, 0 rows read; no row read by another too",
        ),
        (
            ReviewerRecord(1, 1, 1, 1, None, 1, 0),
            "caught 1 of 1 seed; 1 decision, 1 row read; agrees with others on 0 of 1 row",
        ),
        (
            ReviewerRecord(12, 1340, 20, 18, 8.24, 32, 30),
            "caught 18 of 20 seeds; 12 decisions, 1,340 rows read, 8.2 s a row; agrees with others on 30 of 32 rows",
        ),
    ],
)
def test_the_list_tells_how_each_reads(
    said: Said, monkeypatch: pytest.MonkeyPatch, record: ReviewerRecord, line: str
) -> None:
    said(_add)
    monkeypatch.setattr("overnight.cli.reviewers.find_record", lambda *_: record)
    first, second = said(show_reviewers, as_json=False).splitlines()
    assert re.fullmatch(r"Ada  enrolled \d{4}-\d\d-\d\d \d\d:\d\d by root", first)
    assert second.strip() == line
    [found] = json.loads(said(show_reviewers, as_json=True))
    assert (found["n_caught"], found["n_agreed"]) == (record.n_caught, record.n_agreed)


def test_the_list_is_of_a_ledger_that_is_there(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", f"sqlite:///{tmp_path / 'none.sqlite'}")
    with pytest.raises(OvernightError, match="There are no runs yet"):
        show_reviewers(as_json=False)


def test_one_of_a_kind_is_no_plural_in_a_report_either() -> None:
    told = describe_record(ReviewerRecord(1, 1, 1, 1, None, 1, 1))
    assert told == "1 of 1 seed caught in 1 review, 1 of 1 row as the other reader"
