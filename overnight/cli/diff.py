"""`overnight diff`: two runs, prompts or models over the same rows, as text, JSON or a page."""

from __future__ import annotations

from pathlib import Path

import click

from overnight.cli.show import get_ledger, print_json
from overnight.failures import OvernightError
from overnight.settings import Settings


def show_diff(
    a: str,
    b: str,
    *,
    prompt_name: str | None,
    step: int | None,
    limit: int,
    html: Path | None,
    as_json: bool,
    show_private: bool,
) -> None:
    """Compare, and print what comes of it."""
    from overnight.report.diff import compare  # noqa: PLC0415 - late: pyarrow and numpy take half a second
    from overnight.report.diff_page import as_object, render_diff_page  # noqa: PLC0415 - the same
    from overnight.report.diff_text import render_diff  # noqa: PLC0415 - the same

    settings = Settings.from_env()
    diff = compare(
        a, b, ledger=get_ledger(settings), place=settings.parts, prompt_name=prompt_name, step=step, limit=limit,
        show_private=show_private,
    )  # fmt: skip
    if html:
        _write(html, render_diff_page(diff))
    if as_json:
        print_json(as_object(diff))
    else:
        click.echo(render_diff(diff))
        if html:
            click.echo(f"\nThe page is {html.absolute()}")


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise OvernightError(f"{path} cannot be written ({error.strerror}). Name another file.") from error
