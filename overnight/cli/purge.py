"""`overnight purge`: texts and bytes that are older are dropped; hashes stay."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import asdict

import click

from overnight.cli.show import find_login, get_ledger, print_json
from overnight.failures import OvernightError
from overnight.purge import Purged, describe_purge, purge
from overnight.settings import Settings

_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def purge_older(older_than: str, *, dry_run: bool, yes: bool, by: str | None, as_json: bool) -> None:
    """Say what would be dropped, ask, and drop it."""
    now, settings = time.time(), Settings.from_env()
    before, ledger = now - read_duration(older_than), get_ledger(settings)
    if dry_run or not yes:
        found = purge(ledger, settings.home, settings.parts, before=before, by="", is_dry=True)
        if dry_run:
            _tell(found, as_json=as_json)
            return
        _ask(found)
    _tell(purge(ledger, settings.home, settings.parts, before=before, by=by or find_login()), as_json=as_json)


def read_duration(text: str) -> float:
    """
    Seconds of "90d", "12w" or "6h".

    Raises:
        OvernightError: It is none.
    """
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip().lower())
    if found is None:
        raise OvernightError(f"--older-than is {text!r}, which is no time. Give hours, days or weeks: 6h, 90d, 12w.")
    return float(found[1]) * _SECONDS[found[2]]


def _ask(found: Purged) -> None:
    for line in describe_purge(found):
        click.echo(line, err=True)
    if not sys.stdin.isatty():
        raise OvernightError("Nothing was dropped: there is nobody to ask. Give --yes, or --dry-run to only look.")
    if not click.confirm("Drop it? It cannot be undone", err=True):
        raise OvernightError("Nothing was dropped.")


def _tell(done: Purged, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done) | {"words": list(describe_purge(done))})
        return
    for line in describe_purge(done):
        click.echo(line)
