"""Rows are handed in by the command line, once each, counted, and looked up by their key."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

from overnight.cli import inbox
from tests.conftest import House
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).parents[3]
ROW = '{"ticket_id": "T-1", "body": "Where is my parcel?"}'


@pytest.fixture(autouse=True)
def _prompts(cli: Cli) -> None:
    shutil.copytree(ROOT / "prompts", "prompts")


def test_the_same_row_again_has_the_same_key_and_is_counted_once(house: House, cli: Cli) -> None:
    first, again = (cli("submit", "triage_ticket", "--row", ROW, "--by", "Ada") for _ in range(2))
    assert first == again
    assert (first[0], len(first[1].strip())) == (0, 64)
    _, out, _ = cli("inbox", "--json")
    [counted] = orjson.loads(out)
    assert (counted["prompt"], counted["state"], counted["n"]) == ("triage_ticket", "queued", 1)
    assert "triage_ticket  queued" in cli("inbox")[1]
    assert house.fetch("SELECT sent_by FROM inbox") == [("Ada",)]


def test_a_key_shows_where_its_request_stands(cli: Cli) -> None:
    key = cli("submit", "triage_ticket", "--row", ROW)[1].strip()
    assert cli("inbox", key)[1] == "triage_ticket T-1: queued: the next run takes it\n"
    shown = orjson.loads(cli("submit", "triage_ticket", "--row", ROW, "--show", "--json")[1])
    assert (shown["inbox_key"], shown["is_new"], shown["state"], shown["answer"]) == (key, False, "queued", None)
    code, _, err = cli("inbox", "0" * 64)
    assert (code, "There is no request 0000" in err) == (1, True)


def test_a_file_of_rows_is_taken_line_by_line(house: House, cli: Cli) -> None:
    Path("rows.jsonl").write_text(ROW + '\n\n{"ticket_id": 2, "body": "Hello"}\n' + ROW + "\n")
    code, out, _ = cli("submit", "triage_ticket", "--file", "rows.jsonl", "--json")
    assert code == 0
    assert [orjson.loads(line)["is_new"] for line in out.splitlines()] == [True, True, False]
    assert house.fetch("SELECT row_id FROM inbox ORDER BY inbox_id") == [("T-1",), ("2",)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "nothing to submit"),
        (("--row", "{"), "--row 1 is not JSON"),
        (("--row", "[1]"), "--row 1 is no JSON object"),
        (("--file", "none.jsonl"), "none.jsonl cannot be read"),
        (("--row", '{"body": "x"}'), "--row 1 is refused: The row has no 'ticket_id'"),
    ],
)
def test_what_is_no_row_is_refused_in_one_line(cli: Cli, arguments: tuple[str, ...], why: str) -> None:
    code, out, err = cli("submit", "triage_ticket", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert why in err
    assert "kept" not in err


@pytest.mark.parametrize("n_at_once", [1, 2, 1000])
def test_the_rows_of_a_file_are_kept_some_at_a_time(
    house: House, cli: Cli, monkeypatch: pytest.MonkeyPatch, n_at_once: int
) -> None:
    monkeypatch.setattr(inbox, "_N_AT_ONCE", n_at_once)
    Path("rows.jsonl").write_text("".join(f'{{"ticket_id": "T-{n}", "body": "Hello"}}\n' for n in range(4)) + "{oops")
    assert "Rows before it that were kept: 4." in cli("submit", "triage_ticket", "--file", "rows.jsonl")[2]
    assert house.fetch("SELECT count(*) FROM inbox") == [(4,)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{oops", "Line 4 of rows.jsonl is not JSON"),
        ('{"body": "x"}', "Line 4 of rows.jsonl is refused: The row has no"),
    ],
)
def test_rows_before_one_that_is_refused_are_kept_and_those_after_it_are_not(
    house: House, cli: Cli, line: str, why: str
) -> None:
    given = [f'{{"ticket_id": "T-{n}", "body": "Hello"}}' for n in range(1, 4)]
    Path("rows.jsonl").write_text("\n".join([given[0], "", given[1], line, given[2]]))
    code, out, err = cli("submit", "triage_ticket", "--file", "rows.jsonl")
    assert (code, len(out.splitlines()), err.count("\n")) == (1, 2, 1)
    assert why in err
    assert "Rows before it that were kept: 2." in err
    assert house.fetch("SELECT row_id FROM inbox ORDER BY inbox_id") == [("T-1",), ("T-2",)]


def test_a_file_without_rows_keeps_nothing(cli: Cli) -> None:
    Path("rows.jsonl").write_text("\n\n")
    assert cli("submit", "triage_ticket", "--file", "rows.jsonl") == (0, "", "")


def test_an_empty_inbox_says_how_to_fill_it(cli: Cli) -> None:
    assert "overnight submit PROMPT" in cli("inbox")[1]
