"""How far a run by hand has come: a bar in a terminal, plain lines elsewhere; and that it waits for a person."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import click

from overnight.complete import Progress, get_engine
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.queries import find_run
from overnight.records import RunState
from overnight.settings import Settings

_LINE_S = 10.0
_BAR_S = 0.2
#: How often the ledger is asked where the run stands.
_LOOK_S = 1.0
_Read = Callable[[], tuple[Progress, str]]
_ListNew = Callable[[], list[str]]


class Gate:
    """
    Whether a run has come to wait for a person since it was looked at last.

    Args:
        run_id: The run.
        ledger: Where its state is.
        is_awaited: Whether this process waits beside it; else its summary says so.
        clock: Seconds that only grow.
    """

    def __init__(
        self, run_id: str, ledger: Ledger, *, is_awaited: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run_id = run_id
        self._ledger = ledger
        self._is_awaited = is_awaited
        self._clock = clock
        self._next_at = clock()
        self._waits = False

    def look(self) -> str | None:
        """What to do, once each time that the run begins to wait."""
        if not self._is_awaited or self._clock() < self._next_at:
            return None
        self._next_at = self._clock() + _LOOK_S
        before, self._waits = self._waits, self._is_waiting()
        if before or not self._waits:
            return None
        return f"Waits for a person: `overnight review {self._run_id} --web`, or resume it in the Prefect UI."

    def _is_waiting(self) -> bool:
        try:
            with self._ledger.reading() as connection:
                run = find_run(connection, self._run_id)
        except OvernightError:
            # The run itself says what the ledger lacks.
            return self._waits
        return run is not None and run["state"] == RunState.WAITING


def show_progress(run_id: str, settings: Settings, done: threading.Event) -> None:
    """Show the run's progress on standard error until it is done."""
    engine = get_engine(settings)
    gate = Gate(run_id, engine.ledger, is_awaited=settings.wait)

    told: set[str] = set()

    def read() -> tuple[Progress, str]:
        progress = engine.context(run_id).progress
        return progress, _words(progress, engine.list_silent())

    def list_new() -> list[str]:
        """What there is to tell since the last time."""
        lines = [line for line in dict.fromkeys(engine.context(run_id).notes) if line not in told]
        told.update(lines)
        waits = gate.look()
        return [*lines, waits] if waits else lines

    if sys.stderr.isatty():
        _show_bar(read, list_new, done)
    else:
        _show_lines(read, list_new, done)
    # A run that ends at once has its say too.
    for line in list_new():
        click.echo(line, err=True)


def _show_bar(read: _Read, list_new: _ListNew, done: threading.Event) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - the same
    from rich.progress import Progress as Bar  # noqa: PLC0415 - the same

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rows", total=None)
        while not done.wait(_BAR_S):
            progress, words = read()
            bar.update(task, total=progress.total or None, completed=progress.done, description=words)
            for line in list_new():
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_lines(read: _Read, list_new: _ListNew, done: threading.Event) -> None:
    said, next_at = "", time.monotonic() + _LINE_S
    while not done.wait(_LOOK_S):
        for line in list_new():
            click.echo(line, err=True)
        if time.monotonic() < next_at:
            continue
        next_at += _LINE_S
        progress, words = read()
        line = f"{progress.done:,} of {progress.total:,} rows, {words}"
        if progress.total and line != said:
            click.echo(line, err=True)
            said = line


def _words(progress: Progress, silent: list[str]) -> str:
    words = f"{progress.hits:,} hits, {progress.calls:,} calls, {progress.quarantined:,} quarantined"
    return words + "".join(f"; {model} does not answer and is tried from time to time" for model in silent)
