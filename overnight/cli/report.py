"""`overnight report`: what a run came to, as a page and in the terminal; Prefect is not needed."""

from __future__ import annotations

import time

import click

from overnight.cli.browser import open_page
from overnight.cli.show import get_ledger, print_json
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.queries import get_run, list_runs
from overnight.report.brief import describe_brief, gather_brief, summarize_brief, write_brief
from overnight.settings import Settings


def show_report(run_id: str | None, *, opens: bool, as_json: bool) -> None:
    """Write the run's brief, and print what it says in short."""
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    run_id = _find_run(run_id, ledger)
    brief = gather_brief(run_id, ledger=ledger, place=settings.parts, now=time.time())
    path = write_brief(brief, settings.home)
    if as_json:
        print_json(summarize_brief(brief) | {"page": str(path)})
    else:
        click.echo("\n".join([*describe_brief(brief), "", f"The page: {path}"]))
    if opens:
        open_page(path)


def _find_run(run_id: str | None, ledger: Ledger) -> str:
    with ledger.reading() as connection:
        if run_id:
            return str(get_run(connection, run_id)["run_id"])
        newest = list_runs(connection, 1)
    if not newest:
        raise OvernightError("There are no runs yet. `overnight run FLOW` makes one.")
    return str(newest[0]["run_id"])
