"""`overnight runs`: what the ledger says; Prefect is not needed."""

from __future__ import annotations

import getpass
import os
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import orjson

from overnight.failures import OvernightError
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.lives import find_lost
from overnight.ledger.provider_batch_progress import find_progress
from overnight.ledger.queries import list_runs, summarize
from overnight.records import RunState
from overnight.report.batches import describe_progress
from overnight.settings import Settings


def get_ledger(settings: Settings) -> Ledger:
    """
    The ledger of the project, to be read.

    Raises:
        OvernightError: There is none: reading makes nothing.
    """
    path = settings.ledger_url.removeprefix("sqlite:///")
    if path != settings.ledger_url and not Path(path).exists():
        raise OvernightError(
            f"There are no runs yet: {path} is not there. Make one by `overnight run`, or go to the project."
        )
    return open_ledger(settings.ledger_url)


def find_login() -> str:
    """Who works here, by the name of the login."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run a user that has no name.
        return str(os.getuid())


def show_runs(limit: int, *, as_json: bool) -> None:
    """Print the newest runs, newest first."""
    settings = Settings.from_env()
    with get_ledger(settings).reading() as connection:
        lost = {gone.run_id for gone in find_lost(connection)}
        runs = list_runs(connection, limit)
        batches = find_progress(connection, [run["run_id"] for run in runs])
        found = [
            run
            | asdict(summarize(connection, run["run_id"], time.time()))
            | {"lost": run["run_id"] in lost, "batches": batches.get(run["run_id"])}
            for run in runs
        ]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("There are no runs yet. `overnight run FLOW` makes one.")
    for run in found:
        click.echo(_line(run))
        if run["reason"]:
            click.echo(f"    {run['reason']}")
        if run["batches"]:
            click.echo(f"    {describe_progress(run['batches'], time.time())}")
        if run["lost"]:
            click.echo(f"    {_say_lost(run)}")


def _say_lost(run: dict[str, Any]) -> str:
    if run["state"] == RunState.BATCHED:
        return f"Its process is gone, and its rows stay with the provider: `overnight continue {run['run_id']}`."
    return "Its process is gone: run the flow again, and what was answered is a hit."


def _line(run: dict[str, Any]) -> str:
    cost = "?" if run["cost_usd"] is None else f"{run['cost_usd']:.4f}"
    started = datetime.fromtimestamp(run["started_at"]).astimezone()
    flow = f"{run['flow']}, retry of {run['of_run']}" if run["kind"] == "retry" else run["flow"]
    return (
        f"{run['run_id']}  {run['state']:9} {started:%Y-%m-%d %H:%M}  {flow}: {run['rows']:,} rows,"
        f" {run['accepted']:,} accepted, {run['quarantined']:,} quarantined, {run['pending']:,} pending,"
        f" {run['published']:,} published, {run['calls']:,} calls, {cost} USD"
    )


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.flush()
