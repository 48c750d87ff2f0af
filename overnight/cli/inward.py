"""The commands of the way in: requests from outside, and where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from overnight.cli.options import by, json_


@click.command()
@click.argument("prompt")
@click.option(
    "--row", "rows", multiple=True, metavar="JSON", help="A row as a JSON object; may be given several times."
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Many rows, a JSON object a line; - for standard input.",
)
@click.option("--show", "shows", is_flag=True, help="Say where each stands, with its answer once it is let out.")
@by
@json_
def submit(prompt: str, **options: Any) -> None:
    """
    Hand rows in for PROMPT, each kept once, and print its key; they are asked by the next run that drains the inbox.

    The same row again has the same key, and is not asked again: with --show, its answer is there once a person has let
    it out.
    """
    from overnight.cli.inbox import submit_rows  # noqa: PLC0415 - late: not every command needs it

    submit_rows(prompt, **options)


@click.command()
@click.argument("what", metavar="[PROMPT|KEY]", required=False)
@json_
def inbox(what: str | None, *, as_json: bool) -> None:
    """Count what came in from outside, by where it stands; of one KEY, show its state and what was answered."""
    from overnight.cli.inbox import show_inbox  # noqa: PLC0415 - late: not every command needs it

    show_inbox(what, as_json=as_json)


INWARD = (submit, inbox)
