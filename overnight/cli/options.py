"""Options that several commands have."""

from __future__ import annotations

import click

#: The largest number that a command takes of rows, runs or times.
MOST = 1_000_000

json_ = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")
by = click.option("--by", help="Your name; it is kept.  [default: the name of your login]")
private = click.option("--show-private", is_flag=True, help="Show values that the prompt declares private.")
