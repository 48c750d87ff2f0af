"""The commands of runs whose rows are with a provider: what it has, and how a run goes on."""

from __future__ import annotations

import sys
from typing import Any

import click

from overnight.cli.completion import complete_run
from overnight.cli.options import MOST, by, by_time, json_, mode


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--follow", "follows", is_flag=True, help="Look at the providers now, and record what has come.")
@click.option("--sent", multiple=True, metavar="BATCH=PROVIDER_ID", help="One in doubt: the provider has it, as this.")
@click.option("--not-sent", multiple=True, metavar="BATCH", help="One in doubt: the provider never had it.")
@click.option("--yes", "is_sure", is_flag=True, help="With --not-sent: do not ask whether that is sure.")
@click.option("--all", "shows_all", is_flag=True, help="Show those that were never sent, too.")
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many batches.")
@by
@json_
def batches(run: str | None, **options: Any) -> None:
    """List what was handed to providers in batches, of RUN or of all; settle what is in doubt."""
    from overnight.cli.batches import Settlement, show_or_settle  # noqa: PLC0415 - late: not every command needs it

    said = Settlement(*(options[name] for name in ("sent", "not_sent", "by", "is_sure")))
    shown = {name: options[name] for name in ("follows", "shows_all", "limit", "as_json")}
    sys.exit(show_or_settle(run, settlement=said, **shown))


@click.command("continue")
@click.argument("run", shell_complete=complete_run)
@click.option(
    "--wait/--no-wait",
    default=False,
    help="Stay until its batches are answered, and at the gate until somebody decides; or end.  [default: no-wait]",
)
@click.option(
    "--budget",
    type=click.FloatRange(0),
    help="Halt before the run costs more than this, all of its passes together, in US dollars.  [default: as it began]",
)
@mode
@by_time
@json_
def continue_(run: str, **options: Any) -> None:
    """Go on with RUN, whose rows are with a provider, or that has halted; what has come is taken, and asked no more."""
    from overnight.cli.going_on import continue_run  # noqa: PLC0415 - late: Prefect takes seconds

    sys.exit(continue_run(run, **options))


TOGETHER = (batches, continue_)
