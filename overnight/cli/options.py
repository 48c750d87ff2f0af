"""Options that several commands have."""

from __future__ import annotations

import click

from overnight.records import Mode, is_time_of_day

#: The largest number that a command takes of rows, runs or times.
MOST = 1_000_000

json_ = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")
by = click.option("--by", help="Your name; it is kept.  [default: the name of your login]")
private = click.option("--show-private", is_flag=True, help="Show values that the prompt declares private.")


def _check_time(_context: click.Context, _option: click.Parameter, time: str | None) -> str | None:
    if time is not None and not is_time_of_day(time):
        raise click.BadParameter(f"{time!r} is no time of a day. Give it like 06:00.")
    return time


mode = click.option(
    "--mode",
    type=click.Choice([str(each) for each in Mode]),
    help="Ask rows one by one, or in the provider's batches: within a day, at its price for that."
    "  [default: as the prompt says, else online]",
)
by_time = click.option(
    "--by",
    "by_time",
    metavar="HH:MM",
    callback=_check_time,
    help="In batches: what is not answered shortly before this time is asked online.",
)
