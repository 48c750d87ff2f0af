"""Shell completion: names of flows, prompts, sinks and runs, found quickly and without a word where they cannot be."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from overnight.declarations import read_sinks
from overnight.failures import OvernightError

#: The variable that click's scripts call the command with.
_VARIABLE = "_OVERNIGHT_COMPLETE"
_N_RUNS = 20
#: A ledger that is busy longer is not waited for.
_BUSY_S = 0.1


def print_script(cli: click.Command, shell: str) -> None:
    """Print the script that a shell loads."""
    made = get_completion_class(shell)
    if made is None:
        raise OvernightError(f"There is no completion for {shell!r}. Take bash, zsh or fish.")
    # Not its source(): that starts bash to ask for its version.
    completion = made(cli, {}, "overnight", _VARIABLE)
    click.echo(completion.source_template % completion.source_vars())


def complete_flow(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The flows that can be run by hand."""
    return _offer((path.stem for path in sorted(Path("flows").glob("*.py")) if _is_nightly(path)), incomplete)


def complete_prompt(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The prompts."""
    return _offer((path.parent.name for path in sorted(Path("prompts").glob("*/prompt.md"))), incomplete)


def complete_sink(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sinks that pyproject.toml gives a name."""
    try:
        return _offer(read_sinks(), incomplete)
    except OvernightError:
        return []


def complete_run(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest runs, newest first, with their flow and where they stand."""
    return [
        CompletionItem(run_id, help=f"{flow}, {state}")
        for run_id, flow, state in _list_runs()
        if run_id.startswith(incomplete)
    ]


def _offer(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _is_nightly(path: Path) -> bool:
    try:
        return "@nightly_flow" in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _list_runs() -> list[tuple[str, str, str]]:
    """The runs of a ledger in SQLite: SQLAlchemy alone takes longer to import than a person waits for a Tab."""
    home = Path(os.environ.get("OVERNIGHT_HOME") or "data").absolute()
    url = os.environ.get("OVERNIGHT_LEDGER_URL") or f"sqlite:///{home / 'ledger.sqlite'}"
    path = url.removeprefix("sqlite:///")
    if path == url or not Path(path).is_file():
        return []
    query = "SELECT run_id, flow, state FROM runs ORDER BY started_at DESC, run_id DESC LIMIT ?"
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as ledger:
            return [(str(run), str(flow), str(state)) for run, flow, state in ledger.execute(query, [_N_RUNS])]
    except sqlite3.Error:
        return []
