from __future__ import annotations

import io
import json
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from overnight.deliver import deliver_release
from tests.conftest import RUN, House
from tests.unit.cli.conftest import Cli


@pytest.fixture
def out(house: House) -> Path:
    """A file of two rows that were delivered."""
    deliver_release(house.approve(house.offer(2)), ledger=house.ledger, settings=house.settings)
    return house.out


def test_a_line_on_standard_input_leads_to_its_row(cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.read_bytes().splitlines()[1])))
    code, told, err = cli("why", "-")
    assert (code, err) == (0, "")
    assert told.startswith(f"row r2 in run {RUN}\n")


def test_a_line_of_a_file_leads_to_its_row_as_json(cli: Cli, out: Path) -> None:
    code, told, _ = cli("why", f"{out}:2", "--json")
    assert (code, json.loads(told)["row_id"]) == (0, "r2")


def test_a_page_is_written_where_it_was_asked_for(cli: Cli, out: Path, tmp_path: Path) -> None:
    code, told, _ = cli("why", "r1", "--html", "pages/r1.html")
    assert (code, told) == (0, "The page is pages/r1.html.\n")
    assert "row r1 in run" in (tmp_path / "pages" / "r1.html").read_text()


def test_a_page_that_no_browser_opens_is_written_and_told_in_a_line(
    cli: Cli, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "_tryorder", [])
    code, told, err = cli("why", "r1", "--html", "r1.html", "--open")
    assert (code, told, (tmp_path / "r1.html").is_file()) == (1, "The page is r1.html.\n", True)
    assert err == "overnight: No browser could be opened here. Open r1.html yourself.\n"


def test_a_page_that_cannot_be_written_is_one_line(cli: Cli, out: Path, tmp_path: Path) -> None:
    (tmp_path / "pages").touch()
    code, told, err = cli("why", "r1", "--html", "pages/r1.html")
    assert (code, told) == (1, "")
    assert err.startswith("overnight: The page cannot be written to pages/r1.html")


def test_long_texts_are_cut_in_the_terminal_unless_they_are_asked_for(cli: Cli, out: Path) -> None:
    short, whole = cli("why", "r1")[1], cli("why", "r1", "--full")[1]
    assert "more characters: --full shows them" not in whole
    assert len(short) <= len(whole)


@pytest.mark.parametrize(("row", "step"), [("r9", "1"), ("r1", "7")])
def test_a_row_or_a_step_that_is_not_there_is_one_line(cli: Cli, out: Path, row: str, step: str) -> None:
    code, told, err = cli("why", row, "--step", step)
    assert (code, told, err.count("\n")) == (1, "", 1)


def test_standard_input_without_a_row_is_one_line(cli: Cli, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    code, _, err = cli("why", "-")
    assert (code, err.count("\n")) == (1, 1)
    assert "Standard input is not JSON" in err


@pytest.mark.parametrize(
    "row", ["x" * 400 + ":1", "x/" * 4000 + "x:1", "out.jsonl:1" + "0" * 5000], ids=["name", "path", "number"]
)
def test_a_name_that_no_file_can_have_and_a_line_that_no_file_can_have_are_one_line(
    cli: Cli, out: Path, row: str
) -> None:
    Path("out.jsonl").write_bytes(out.read_bytes())
    code, told, err = cli("why", row)
    assert (code, told, err.count("\n")) == (1, "", 1)
    assert "is not in any run" in err


def test_the_command_imports_nothing_that_takes_long() -> None:
    heavy = "{'pydantic', 'pandas', 'scipy', 'prefect', 'great_expectations', 'jinja2', 'matplotlib'}"
    code = f"import sys, overnight.cli.why, overnight.report.why; print({heavy} & set(sys.modules) or 'none')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "none\n"
