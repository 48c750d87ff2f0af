"""`overnight read`: whole traces, one after the other, with a verdict and a note on each."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.report.reading import Said, parse_said, record_said
from overnight.report.text import show_value
from overnight.report.to_read import RowToRead, find_readable_run, pick_rows_to_read
from overnight.report.why import explain_row, render_row
from overnight.settings import Settings

_KEYS = {"c": "correct", "w": "wrong", "u": "unsure"}


def read_rows(
    run_id: str | None, *, n_rows: int, answers: Path | None, reader: str | None, as_json: bool, show_private: bool
) -> None:
    """Show a sample of a run's rows in full, and record what is said of them."""
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    with ledger.reading() as connection:
        run_id = find_readable_run(connection, run_id)
    sample = pick_rows_to_read(run_id, n_rows=n_rows, ledger=ledger, place=settings.parts)
    reader = reader or find_login()
    if answers is not None:
        done = record_said(sample, parse_said(_read_file(answers)), reader=reader, ledger=ledger, now=time.time())
        click.echo(f"{len(done)} readings of run {run_id} are recorded.", err=True)
        if as_json:
            print_json([asdict(reading) for reading in done])
    elif as_json:
        print_json([asdict(row) | {"trace": _explain(row, ledger, settings, show_private)} for row in sample])
    elif not sample:
        click.echo(f"Run {run_id} has no row left to read.")
    else:
        _read_in_terminal(sample, reader, ledger, settings, show_private)


def _explain(row: RowToRead, ledger: Ledger, settings: Settings, show_private: bool) -> dict[str, Any]:
    return explain_row(row.row_id, run_id=row.run_id, ledger=ledger, place=settings.parts, shows_private=show_private)


def _read_in_terminal(
    sample: Sequence[RowToRead], reader: str, ledger: Ledger, settings: Settings, show_private: bool
) -> None:
    if not sys.stdin.isatty():
        raise ReviewRefused(
            f"{len(sample)} rows of run {sample[0].run_id} are to be read. Run `overnight read` in a terminal, or print"
            " them with --json and give --answers FILE."
        )
    n_read = 0
    try:
        for number, row in enumerate(sample, 1):
            click.echo(f"\nrow {number} of {len(sample)}, picked for: {show_value(row.why)}\n")
            click.echo(render_row(_explain(row, ledger, settings, show_private)))
            said = _ask()
            record_said(sample, {row.row_id: said}, reader=reader, ledger=ledger, now=time.time())
            n_read += 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
    click.echo(f"{n_read} of {len(sample)} rows read; what was said of them is kept.", err=True)


def _ask() -> Said:
    choice = click.prompt("[c]orrect, [w]rong or [u]nsure", type=click.Choice(sorted(_KEYS)), show_choices=False)
    verdict: Any = _KEYS[choice]
    note = ""
    while not note.strip():
        note = click.prompt("What is wrong?" if verdict == "wrong" else "Note", default="", show_default=False)
        if verdict != "wrong":
            break
    return Said(verdict=verdict, note=note)


def _read_file(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ReviewRefused(f"The answers file {path} cannot be read ({error.strerror}). Give another.") from error
