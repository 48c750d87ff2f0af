"""`overnight read`: whole traces, one after the other, with a verdict and a note on each."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.runs import find_private
from overnight.masking import Veil
from overnight.report import explain_row, render_row, show_value
from overnight.report.reading import Said, parse_said, record_said
from overnight.report.to_read import RowToRead, find_readable_run, pick_rows_to_read
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
        private = {} if show_private else find_private(connection, run_id)
    sample = pick_rows_to_read(run_id, n_rows=n_rows, ledger=ledger, home=settings.home)
    reader = reader or find_login()
    if answers is not None:
        done = record_said(sample, parse_said(_read_file(answers)), reader=reader, ledger=ledger, now=time.time())
        click.echo(f"{len(done)} readings of run {run_id} are recorded.", err=True)
    elif as_json:
        print_json([asdict(row) | {"trace": _explain(row, private, ledger, settings)} for row in sample])
    elif not sample:
        click.echo(f"Run {run_id} has no row left to read.")
    else:
        _read_in_terminal(sample, private, reader, ledger, settings)


def _explain(
    row: RowToRead, private: Mapping[int, Sequence[str]], ledger: Ledger, settings: Settings
) -> dict[str, Any]:
    found = explain_row(row.row_id, run_id=row.run_id, ledger=ledger, home=settings.home)
    return hide_private(found, private) if any(private.values()) else found


def hide_private(found: dict[str, Any], private: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    """A row's trace without the values that its prompts declare private, wherever they stand in it."""
    steps = [*found["earlier"], found]
    veils = [veil for step in steps for veil in _make_veils(step, private)]
    shown = [_hide_step(step, private, veils) for step in steps]
    return shown[-1] | {"earlier": shown[:-1]}


def _make_veils(step: Mapping[str, Any], private: Mapping[int, Sequence[str]]) -> list[Veil]:
    """For texts as they are, and as they stand in bodies, which are JSON."""
    names, given, output = private.get(step["step"], ()), step["input"], step["output"]
    return [Veil(names, given, output), Veil(names, _as_written(given), _as_written(output))]


def _hide_step(step: Mapping[str, Any], private: Mapping[int, Sequence[str]], veils: Sequence[Veil]) -> dict[str, Any]:
    hidden = {name: value for name, value in step.items() if name not in ("input", "output", "earlier")}
    for veil in veils:
        hidden = veil.hide(hidden)
    own = _make_veils(step, private)[0]
    hidden["input"] = own.hide_input(step["input"]) if step["input"] else step["input"]
    hidden["output"] = own.hide_output(step["output"]) if step["output"] else step["output"]
    return hidden


def _as_written(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {k: orjson.dumps(v).decode()[1:-1] if isinstance(v, str) else v for k, v in values.items()}


def _read_in_terminal(
    sample: Sequence[RowToRead],
    private: Mapping[int, Sequence[str]],
    reader: str,
    ledger: Ledger,
    settings: Settings,
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
            click.echo(render_row(_explain(row, private, ledger, settings)))
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
