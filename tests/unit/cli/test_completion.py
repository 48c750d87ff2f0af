from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from overnight.cli.main import cli as command
from tests.conftest import House
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_main import HEAVY


@pytest.fixture
def project(cli: Cli, tmp_path: Path) -> Path:
    """A project of two flows, one of them on a schedule alone, a prompt and two sinks."""
    for folder in ("flows", "prompts/label_review"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "flows/label_reviews.py").write_text("@nightly_flow(name='label-reviews')\n")
    (tmp_path / "flows/send_brief.py").write_text("@flow\n")
    (tmp_path / "prompts/label_review/prompt.md").touch()
    (tmp_path / "pyproject.toml").write_text('[tool.overnight.sinks]\ncrm = "file:a.jsonl"\nbilling = "file:b.jsonl"\n')
    return tmp_path


def _complete(*words: str) -> list[str]:
    *arguments, incomplete = words
    completions = BashComplete(command, {}, "overnight", "_OVERNIGHT_COMPLETE").get_completions(arguments, incomplete)
    return [item.value for item in completions]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["comp"], ["completion"]),
        (["run", ""], ["label_reviews"]),
        (["plan", "label"], ["label_reviews"]),
        (["run", "x"], []),
        (["run", "label_reviews", "--shadow", "l"], ["label_review"]),
        (["run", "label_reviews", "--sink", ""], ["crm", "billing"]),
        (["hold", "b"], ["billing"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("project")
def test_names_of_the_project_are_offered(words: list[str], offered: list[str]) -> None:
    assert _complete(*words) == offered


@pytest.mark.parametrize("words", [["report"], ["why", "r1", "--run"], ["diff"], ["diff", "a"], ["review"]], ids=str)
@pytest.mark.usefixtures("project")
def test_the_newest_runs_are_offered_newest_first(house: House, words: list[str]) -> None:
    for n in range(1, 25):
        house.begin(f"night-{n:02}", now=float(n))
    assert _complete(*words, "") == [f"night-{n:02}" for n in range(24, 4, -1)]
    assert _complete(*words, "night-2") == [f"night-{n}" for n in range(24, 19, -1)]


def test_whatever_is_broken_offers_nothing_and_says_nothing(
    project: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (project / "pyproject.toml").write_text("not TOML")
    (project / "flows/label_reviews.py").write_bytes(b"\xff")
    broken = home / "broken.sqlite"
    broken.write_bytes(b"no database" * 100)
    urls = [f"sqlite:///{broken}", f"sqlite:///{home}/none.sqlite", "postgresql+psycopg://127.0.0.1:9/x", "nonsense"]
    for url in urls:
        monkeypatch.setenv("OVERNIGHT_LEDGER_URL", url)
        assert _complete("report", "") == []
    assert _complete("hold", "") == []
    assert _complete("run", "") == []
    assert capfdbinary.readouterr() == (b"", b"")
    assert not (home / "none.sqlite").exists()


@pytest.mark.parametrize("words", ["overnight run ", "overnight report ", "overnight hold "])
def test_a_tab_imports_nothing_heavy(project: Path, house: House, words: str) -> None:
    house.begin()
    script = """
import sys
from overnight.cli import main
sys.argv = ["overnight"]
try:
    main()
finally:
    print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
    asked = {"_OVERNIGHT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | asked | {"OVERNIGHT_LEDGER_URL": house.ledger.url},
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
    )
    offered, loaded = done.stdout.split("LOADED", 1)
    assert offered.startswith("plain,")
    assert not {*loaded.split()} & (HEAVY | {"pydantic"})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_this_command(cli: Cli, shell: str) -> None:
    code, out, err = cli("completion", shell)
    assert (code, err) == (0, "")
    assert f"_OVERNIGHT_COMPLETE={shell}_complete" in out
    assert "%(" not in out
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=out, text=True, check=True)
