"""How far a run by hand has come: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import click

from overnight.complete import Progress, get_engine
from overnight.settings import Settings

_LINE_S = 10.0
_BAR_S = 0.2


def show_progress(run_id: str, settings: Settings, done: threading.Event) -> None:
    """Show the run's progress on standard error until it is done."""
    engine = get_engine(settings)

    def read() -> tuple[Progress, str]:
        progress = engine.context(run_id).progress
        return progress, _words(progress, engine.list_silent())

    if sys.stderr.isatty():
        _show_bar(read, done)
    else:
        _show_lines(read, done)


def _show_bar(read: Callable[[], tuple[Progress, str]], done: threading.Event) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - the same
    from rich.progress import Progress as Bar  # noqa: PLC0415 - the same

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=None)
        while not done.wait(_BAR_S):
            progress, words = read()
            bar.update(task, total=progress.total or None, completed=progress.done, description=words)


def _show_lines(read: Callable[[], tuple[Progress, str]], done: threading.Event) -> None:
    said = ""
    while not done.wait(_LINE_S):
        progress, words = read()
        line = f"{progress.done:,} of {progress.total:,} rows, {words}"
        if progress.total and line != said:
            click.echo(line, err=True)
            said = line


def _words(progress: Progress, silent: list[str]) -> str:
    words = f"{progress.hits:,} hits, {progress.calls:,} calls, {progress.quarantined:,} quarantined"
    return words + "".join(f"; {model} does not answer and is tried from time to time" for model in silent)
