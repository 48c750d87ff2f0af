from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from overnight.records import RunState
from tests.conftest import House
from tests.unit.cli.conftest import Cli

#: Each takes from a third of a second to several to import.
HEAVY = {"prefect", "great_expectations", "pyarrow", "sqlalchemy", "pandas", "httpx", "alembic", "jinja2"}

_LIST_MODULES = """
import sys
from overnight.cli import main
sys.argv = ["overnight", *sys.argv[1:]]
try:
    main()
finally:
    print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _loaded(home: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES, *arguments],
        env=os.environ | {"OVERNIGHT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.split("LOADED", 1)[1].split())


def test_help_is_quick_it_imports_nothing_heavy(home: Path) -> None:
    assert not _loaded(home, "--help") & HEAVY
    assert not home.exists()


def test_why_needs_no_prefect(home: Path) -> None:
    loaded = _loaded(home, "why", "r1")
    assert "sqlalchemy" in loaded
    assert not loaded & {"prefect", "great_expectations"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "nothing"], "There are no flows in"),
        (["why", "r1"], "Row 'r1' is not in any run"),
        (["why", "r1", "--run", "night-9"], "Row 'r1' is not in run night-9"),
        (["review"], "No run waits for a review"),
        (["review", "night-9"], "There is no run night-9"),
        (["up"], "There is no prefect.yaml in"),
    ],
    ids=str,
)
def test_a_foreseeable_fault_is_one_line_and_exit_code_1(cli: Cli, arguments: Sequence[str], says: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"overnight: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "flow", "--limit", "0"],
        ["run", "flow", "--budget", "-1"],
        ["run", "flow", "--concurrency", "x"],
        ["nothing"],
    ],
    ids=str,
)
def test_a_command_that_is_misspelt_is_exit_code_2(cli: Cli, arguments: Sequence[str]) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err


def test_a_damaged_ledger_is_one_line(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "other.sqlite").write_bytes(b"no database" * 100)
    monkeypatch.setenv("OVERNIGHT_LEDGER_URL", f"sqlite:///{home / 'other.sqlite'}")
    code, _, err = cli("runs")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be read" in err


def test_a_run_by_hand_that_was_not_waited_for_says_so(cli: Cli, house: House) -> None:
    house.begin()
    code, _, err = cli("review", "night-1")
    assert code == 1
    assert f"Run night-1 has nothing to review: it is {RunState.RUNNING}" in err
