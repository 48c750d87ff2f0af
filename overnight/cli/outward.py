"""The commands of the way out: what was sent, what is stopped or undone, and who may decide."""

from __future__ import annotations

import sys
from typing import Any

import click

from overnight.cli.completion import complete_sink
from overnight.cli.options import MOST, by, json_


@click.command()
@click.argument("release", required=False)
@click.option("--arrived", "arrived", multiple=True, metavar="ROW", help="A row of unknown fate did arrive.")
@click.option("--resend", "resend", multiple=True, metavar="ROW", help="It did not, and is to be sent again.")
@click.option("--reason", default="", help="How you know; it is kept.")
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many releases.")
@by
@json_
def outbox(release: str | None, **options: Any) -> None:
    """Show what was promised to whom and what became of it; settle rows whose fate is unknown."""
    from overnight.cli.deliveries import settle_or_show  # noqa: PLC0415 - late: not every command needs it

    settle_or_show(release, **options)


@click.command()
@click.argument("sink", required=False, shell_complete=complete_sink)
@click.option("--lift", is_flag=True, help="Let it go on.")
@click.option("--reason", default="", help="Why; it is kept, and shown to whoever is stopped by it.")
@by
@json_
def hold(sink: str | None, **options: Any) -> None:
    """Stop all writing to SINK at once: an address, a name of pyproject.toml, or "all". Without it: list holds."""
    from overnight.cli.deliveries import hold as hold_  # noqa: PLC0415 - late: not every command needs it

    hold_(sink, **options)


@click.command()
@click.argument("release")
@click.option("--reason", required=True, help="Why; it is kept.")
@by
@json_
def recall(release: str, **options: Any) -> None:
    """Undo what RELEASE wrote, where its sink is reversible: a file, an object, a table."""
    from overnight.cli.deliveries import recall as recall_  # noqa: PLC0415 - late: not every command needs it

    sys.exit(recall_(release, **options))


@click.group(invoke_without_command=True)
@json_
@click.pass_context
def reviewers(context: click.Context, *, as_json: bool) -> None:
    """List who may review, and how each of them reads; enrol and remove them."""
    if context.invoked_subcommand is None:
        from overnight.cli.reviewers import show_reviewers  # noqa: PLC0415 - late: not every command needs it

        show_reviewers(as_json=as_json)


@reviewers.command()
@click.argument("name")
@click.option("--again", is_flag=True, help="Enrol anew: the phone is lost. The old secret stops working.")
@by
def add(name: str, **options: Any) -> None:
    """Enrol NAME: show, once, what their authenticator app is given."""
    from overnight.cli.reviewers import add_reviewer  # noqa: PLC0415 - late: not every command needs it

    add_reviewer(name, **options)


@reviewers.command()
@click.argument("name")
def remove(name: str) -> None:
    """Take NAME off the list: their codes are refused from now on."""
    from overnight.cli.reviewers import drop_reviewer  # noqa: PLC0415 - late: not every command needs it

    drop_reviewer(name)


OUTWARD = (outbox, hold, recall, reviewers)
