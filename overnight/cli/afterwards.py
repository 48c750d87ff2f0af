"""The commands that look back: what came of a run, why a row says what it says, what would have been otherwise."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from overnight.cli.completion import complete_prompt, complete_run, complete_sink
from overnight.cli.options import MOST, by, json_, private


@click.command()
@click.argument("row")
@click.option(
    "--run",
    "run_id",
    help="The run to look in. Default: the newest that holds the row.",
    shell_complete=complete_run,
)
@click.option("--step", type=click.IntRange(1, MOST), help="The step of a chain to begin with. Default: the last.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as a page.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option("--full", "is_full", is_flag=True, help="Show long texts whole.")
@private
@json_
def why(row: str, run_id: str | None, **options: Any) -> None:
    """
    Show why a row says what it says.

    ROW is its id, its request key or eight digits of it, the delivery key that a receiver was given, FILE:LINE of an
    output file, or - for one line of such a file on standard input.
    """
    with _uncollected():
        from overnight.cli.why import show_why  # noqa: PLC0415 - late: not every command needs it

        show_why(row, run_id, **options)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """A short process makes no garbage worth collecting: looking for it takes a tenth of one that imports much."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--reason", help="Only rows of this failure class or rule.")
@click.option("--rows", "by_row", is_flag=True, help="List each row.")
@click.option("--retry", is_flag=True, help="Ask these rows again, in a run with a release of its own.")
@click.option("--model", help="With --retry: PROVIDER:NAME.  [default: as the run itself]")
@click.option(
    "--sink",
    help="With --retry: where released rows go.  [default: as the run itself]",
    shell_complete=complete_sink,
)
@click.option("--budget", type=click.FloatRange(0), help="With --retry: halt before it costs more, in US dollars.")
@click.option("--wait/--no-wait", default=False, help="With --retry, at the gate: stay, or end.  [default: no-wait]")
@private
@json_
def quarantine(run: str | None, *, retry: bool, by_row: bool, show_private: bool, **options: Any) -> None:
    """Show by reason what RUN set aside, and what to do about it; or ask those rows again. Default: the newest run."""
    from overnight.cli.quarantine import retry_rows, show_quarantine  # noqa: PLC0415 - late: not every command needs it

    if retry:
        sys.exit(retry_rows(run, **options))
    asked = {name: options[name] for name in ("reason", "as_json")}
    show_quarantine(run, by_row=by_row, show_private=show_private, **asked)


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("-n", "n_rows", type=click.IntRange(1, MOST), default=10, show_default=True, help="How many rows.")
@click.option(
    "--answers", type=click.Path(path_type=Path), help="A JSON file with the verdicts, or - for standard input."
)
@click.option("--reader", help="Your name; it is kept.  [default: the name of your login]")
@private
@json_
def read(run: str | None, **options: Any) -> None:
    """Read whole traces of RUN, some for their risk and some at random, and say what you think of them."""
    from overnight.cli.read import read_rows  # noqa: PLC0415 - late: not every command needs it

    read_rows(run, **options)


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@json_
def report(run: str | None, *, opens: bool, as_json: bool) -> None:
    """Write the page that tells what RUN, or the newest, came to, and print it in short."""
    from overnight.cli.report import show_report  # noqa: PLC0415 - late: not every command needs it

    show_report(run, opens=opens, as_json=as_json)


@click.command()
@click.argument("key")
@click.option("--model", help="PROVIDER:NAME of another model. Default: the recorded one, where it was asked.")
@click.option(
    "--prompt",
    "prompt_name",
    help="Today's prompt of this name on the recorded input.",
    shell_complete=complete_prompt,
)
@click.option("--times", type=click.IntRange(1, MOST), default=1, show_default=True, help="How often.")
@click.option(
    "--run",
    "run_id",
    help="The run to look for a row in. Default: the newest that holds it.",
    shell_complete=complete_run,
)
@private
@json_
def replay(key: str, **options: Any) -> None:
    """Send a recorded request again and compare: KEY is its key, the beginning of one, or a row's id."""
    from overnight.cli.replay import replay_request  # noqa: PLC0415 - late: not every command needs it

    sys.exit(replay_request(key, **options))


@click.command()
@click.argument("a", shell_complete=complete_run)
@click.argument("b", shell_complete=complete_run)
@click.option(
    "--prompt",
    "prompt_name",
    help="Where a model is named that has answered several prompts: which.",
    shell_complete=complete_prompt,
)
@click.option("--step", type=click.IntRange(1, MOST), help="Of runs: which step.  [default: the last]")
@click.option("--limit", type=click.IntRange(0, MOST), default=5, show_default=True, help="How many examples.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page to this file too.")
@private
@json_
def diff(a: str, b: str, **options: Any) -> None:
    """Compare two runs, prompts (HASH, NAME@last, NAME@previous) or models (PROVIDER:NAME) over the same rows."""
    from overnight.cli.diff import show_diff  # noqa: PLC0415 - late: not every command needs it

    show_diff(a, b, **options)


@click.command()
@click.option("--older-than", required=True, metavar="90d", help="Hours, days or weeks: 6h, 90d, 12w.")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@by
@json_
def purge(older_than: str, **options: Any) -> None:
    """Drop the texts and bytes of old runs; their hashes, figures and verdicts stay."""
    from overnight.cli.purge import purge_older  # noqa: PLC0415 - late: not every command needs it

    purge_older(older_than, **options)


AFTERWARDS = (report, why, replay, diff, quarantine, read, purge)
