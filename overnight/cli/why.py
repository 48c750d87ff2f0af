"""`overnight why`: why a row says what it says, in the terminal, as JSON, or as a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from overnight.cli.browser import open_page
from overnight.cli.show import get_ledger, print_json
from overnight.failures import OvernightError
from overnight.settings import Settings


def show_why(
    row: str,
    run_id: str | None,
    *,
    step: int | None,
    as_json: bool,
    html: Path | None,
    opens: bool,
    is_full: bool,
    show_private: bool,
) -> None:
    """Print everything recorded of a row, or write it as a page."""
    # Late: pyarrow takes a third of a second.
    from overnight.report.why import explain_row, render_row  # noqa: PLC0415

    settings = Settings.from_env()
    told = explain_row(
        _read_start() if row == "-" else row,
        run_id=run_id,
        step=step,
        ledger=get_ledger(settings),
        place=settings.parts,
        approval_key=settings.approval_key,
        shows_private=show_private,
    )
    path = html or settings.home / "reports" / "why.html"
    if html or opens:
        _write_page(told, path)
        click.echo(f"The page is {path}.", err=as_json)
    if as_json:
        print_json(told)
    elif not (html or opens):
        click.echo(render_row(told, is_full=is_full))
    if opens:
        open_page(path)


def _read_start() -> Any:
    from overnight.report.why.start import read_line  # noqa: PLC0415 - for the same reason

    line = next((line for line in sys.stdin.buffer if line.strip()), b"")
    return read_line(line, "Standard input")


def _write_page(told: dict[str, Any], path: Path) -> None:
    from overnight.report.why.page import render_page  # noqa: PLC0415 - templates are only needed here

    page = render_page(told)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OvernightError(f"The page cannot be written to {path} ({error.strerror}). Give --html FILE.") from error
