"""`overnight runs`: what the ledger says; Prefect is not needed."""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import orjson

from overnight.cli.standing import Standing, find_standing
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
    ledger = get_ledger(settings)
    with ledger.reading() as connection:
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
    standing = _find_standing(ledger, found)
    for run in found:
        click.echo(_line(run))
        for line in _list_below(run, standing.get(run["run_id"])):
            click.echo(f"    {line}")


def _list_below(run: dict[str, Any], standing: Standing | None) -> Iterator[str]:
    """What else there is to say of a run: why it stands where it does, and who goes on."""
    if standing is None or not standing.is_here:
        # Of batches that have ended since, it tells what was.
        yield from [run["reason"]] if run["reason"] else []
    if run["batches"]:
        yield describe_progress(run["batches"], time.time())
    if run["lost"]:
        yield _say_lost(run)
    elif standing and (line := standing.describe()):
        yield line


def _find_standing(ledger: Ledger, found: Sequence[dict[str, Any]]) -> dict[str, Standing]:
    with ledger.reading() as connection:
        batched = [run for run in found if run["state"] == RunState.BATCHED]
        made = [find_standing(connection, run["run_id"], run["batches"]) for run in batched]
    return {each.run_id: each for each in made if each}


def _say_lost(run: dict[str, Any]) -> str:
    if run["state"] == RunState.BATCHED:
        return f"Its process is gone, and its rows stay with the provider: `overnight continue {run['run_id']}`."
    return f"Its process is gone: `overnight continue {run['run_id']}` goes on, and what was answered is a hit."


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
