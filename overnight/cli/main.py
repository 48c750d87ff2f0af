"""The commands and their options; what each does is imported when it is called, so that `--help` is quick."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from overnight import __version__
from overnight.failures import OvernightError

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else on standard output.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Run datasets through language models at night, and hold what would leave until a person has read it."""


@cli.command()
@click.argument("flow")
@click.option("--source", help="The dataset: a .csv or .parquet file, or quarantine:RUN.")
@click.option("--model", help="PROVIDER:NAME, such as openai:gpt-5-mini. Default: the prompt's own.")
@click.option("--sink", help="Where released rows go: an address, or a name that pyproject.toml gives one.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@click.option("--concurrency", type=click.IntRange(1), help="Calls in flight.  [default: 16]")
@click.option("--budget", type=click.FloatRange(0), help="Halt before the run costs more than this, in US dollars.")
@click.option(
    "--shadow", help="A prompt that a sample of the rows is asked too, to compare: NAME, NAME@PROVIDER:MODEL."
)
@click.option("--shadow-rows", type=click.IntRange(1), help="Rows of that sample.  [default: 200]")
@click.option("--shadow-budget", type=click.FloatRange(0), help="What it may cost, in US dollars.  [default: 1]")
@click.option(
    "--wait/--no-wait", default=False, help="At the gate: stay until somebody decides, or end.  [default: no-wait]"
)
@_json
def run(flow: str, **options: Any) -> None:
    """Run a flow of flows/ by hand, now."""
    from overnight.cli.run import run_flow  # noqa: PLC0415 - late: Prefect takes seconds

    sys.exit(run_flow(flow, **options))


@cli.command()
@click.argument("flow")
@click.option("--source", help="The dataset: a .csv or .parquet file, or quarantine:RUN.")
@click.option("--model", help="PROVIDER:NAME, such as openai:gpt-5-mini. Default: the prompt's own.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@_json
def plan(flow: str, **options: Any) -> None:
    """Say what a run would do: hits, rows to ask and why, tokens, cost; calls nothing."""
    from overnight.cli.plan import plan_flow  # noqa: PLC0415 - late: Prefect takes seconds

    sys.exit(plan_flow(flow, **options))


@cli.command()
@click.argument("run", required=False)
@click.option(
    "--answers", type=click.Path(path_type=Path), help="A JSON file with the verdicts, or - for standard input."
)
@click.option("--reviewer", help="Your name; it is kept with the decision.")
@click.option("--code", help="Your one-time code, where reviewers are enrolled.")
@click.option("--web", is_flag=True, help="Read on a page of your browser, served on this machine alone.")
@click.option("--held", is_flag=True, help="Offer once more, as a release of their own, the rows that were held back.")
@_json
def review(run: str | None, **options: Any) -> None:
    """Read what waits, give verdicts, and continue the run."""
    from overnight.cli.review import review_run  # noqa: PLC0415 - late: not every command needs it

    sys.exit(review_run(run, **options))


@cli.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many runs.")
@_json
def runs(limit: int, *, as_json: bool) -> None:
    """List the newest runs and where they stand."""
    from overnight.cli.show import show_runs  # noqa: PLC0415 - late: not every command needs it

    show_runs(limit, as_json=as_json)


@cli.command()
@click.argument("row")
@click.option("--run", "run_id", help="The run to look in. Default: the newest that holds the row.")
@click.option("--step", type=click.IntRange(1), help="The step of a chain to begin with. Default: the last.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as a page.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option("--full", "is_full", is_flag=True, help="Show long texts whole.")
@click.option("--show-private", "shows_private", is_flag=True, help="Show what the prompt declares private.")
@_json
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


_private = click.option("--show-private", is_flag=True, help="Show values that the prompt declares private.")


@cli.command()
@click.argument("run", required=False)
@click.option("--reason", help="Only rows of this failure class or rule.")
@click.option("--rows", "by_row", is_flag=True, help="List each row.")
@click.option("--retry", is_flag=True, help="Ask these rows again, in a run with a release of its own.")
@click.option("--model", help="With --retry: PROVIDER:NAME.  [default: as the run itself]")
@click.option("--sink", help="With --retry: where released rows go.  [default: as the run itself]")
@click.option("--budget", type=click.FloatRange(0), help="With --retry: halt before it costs more, in US dollars.")
@click.option("--wait/--no-wait", default=False, help="With --retry, at the gate: stay, or end.  [default: no-wait]")
@_private
@_json
def quarantine(run: str | None, *, retry: bool, by_row: bool, show_private: bool, **options: Any) -> None:
    """Show by reason what RUN set aside, and what to do about it; or ask those rows again. Default: the newest run."""
    from overnight.cli.quarantine import retry_rows, show_quarantine  # noqa: PLC0415 - late: not every command needs it

    if retry:
        sys.exit(retry_rows(run, **options))
    asked = {name: options[name] for name in ("reason", "as_json")}
    show_quarantine(run, by_row=by_row, show_private=show_private, **asked)


@cli.command()
@click.argument("run", required=False)
@click.option("-n", "n_rows", type=click.IntRange(1), default=10, show_default=True, help="How many rows.")
@click.option(
    "--answers", type=click.Path(path_type=Path), help="A JSON file with the verdicts, or - for standard input."
)
@click.option("--reader", help="Your name; it is kept.  [default: the name of your login]")
@_private
@_json
def read(run: str | None, **options: Any) -> None:
    """Read whole traces of RUN, some for their risk and some at random, and say what you think of them."""
    from overnight.cli.read import read_rows  # noqa: PLC0415 - late: not every command needs it

    read_rows(run, **options)


@cli.command()
@click.argument("run", required=False)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@_json
def report(run: str | None, *, opens: bool, as_json: bool) -> None:
    """Write the page that tells what RUN, or the newest, came to, and print it in short."""
    from overnight.cli.report import show_report  # noqa: PLC0415 - late: not every command needs it

    show_report(run, opens=opens, as_json=as_json)


@cli.command()
@click.argument("key")
@click.option("--model", help="PROVIDER:NAME of another model. Default: the recorded one, where it was asked.")
@click.option("--prompt", "prompt_name", help="Today's prompt of this name on the recorded input.")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="How often.")
@click.option("--run", "run_id", help="The run to look for a row in. Default: the newest that holds it.")
@_private
@_json
def replay(key: str, **options: Any) -> None:
    """Send a recorded request again and compare: KEY is its key, the beginning of one, or a row's id."""
    from overnight.cli.replay import replay_request  # noqa: PLC0415 - late: not every command needs it

    sys.exit(replay_request(key, **options))


@cli.command()
@click.argument("a")
@click.argument("b")
@click.option("--prompt", "prompt_name", help="Where a model is named that has answered several prompts: which.")
@click.option("--step", type=click.IntRange(1), help="Of runs: which step.  [default: the last]")
@click.option("--limit", type=click.IntRange(0), default=5, show_default=True, help="How many examples.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page to this file too.")
@_private
@_json
def diff(a: str, b: str, **options: Any) -> None:
    """Compare two runs, prompts (HASH, NAME@last, NAME@previous) or models (PROVIDER:NAME) over the same rows."""
    from overnight.cli.diff import show_diff  # noqa: PLC0415 - late: not every command needs it

    show_diff(a, b, **options)


_by = click.option("--by", help="Your name; it is kept.  [default: the name of your login]")


@cli.command()
@click.argument("release", required=False)
@click.option("--arrived", "arrived", multiple=True, metavar="ROW", help="A row of unknown fate did arrive.")
@click.option("--resend", "resend", multiple=True, metavar="ROW", help="It did not, and is to be sent again.")
@click.option("--reason", default="", help="How you know; it is kept.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many releases.")
@_by
@_json
def outbox(release: str | None, **options: Any) -> None:
    """Show what was promised to whom and what became of it; settle rows whose fate is unknown."""
    from overnight.cli.deliveries import settle_or_show  # noqa: PLC0415 - late: not every command needs it

    settle_or_show(release, **options)


@cli.command()
@click.argument("sink", required=False)
@click.option("--lift", is_flag=True, help="Let it go on.")
@click.option("--reason", default="", help="Why; it is kept, and shown to whoever is stopped by it.")
@_by
@_json
def hold(sink: str | None, **options: Any) -> None:
    """Stop all writing to SINK at once: an address, a name of pyproject.toml, or "all". Without it: list holds."""
    from overnight.cli.deliveries import hold as hold_  # noqa: PLC0415 - late: not every command needs it

    hold_(sink, **options)


@cli.command()
@click.argument("release")
@click.option("--reason", required=True, help="Why; it is kept.")
@_by
@_json
def recall(release: str, **options: Any) -> None:
    """Undo what RELEASE wrote, where its sink is reversible: a file, an object, a table."""
    from overnight.cli.deliveries import recall as recall_  # noqa: PLC0415 - late: not every command needs it

    sys.exit(recall_(release, **options))


@cli.command()
@click.option("--older-than", required=True, metavar="90d", help="Hours, days or weeks: 6h, 90d, 12w.")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_by
@_json
def purge(older_than: str, **options: Any) -> None:
    """Drop the texts and bytes of old runs; their hashes, figures and verdicts stay."""
    from overnight.cli.purge import purge_older  # noqa: PLC0415 - late: not every command needs it

    purge_older(older_than, **options)


@cli.group(invoke_without_command=True)
@_json
@click.pass_context
def reviewers(context: click.Context, *, as_json: bool) -> None:
    """List who may review, and how each of them reads; enrol and remove them."""
    if context.invoked_subcommand is None:
        from overnight.cli.reviewers import show_reviewers  # noqa: PLC0415 - late: not every command needs it

        show_reviewers(as_json=as_json)


@reviewers.command()
@click.argument("name")
@click.option("--again", is_flag=True, help="Enrol anew: the phone is lost. The old secret stops working.")
@_by
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


@cli.command()
def up() -> None:
    """Start server, UI, work pool, worker and all deployments; Ctrl-C ends them."""
    from overnight.cli.up import run_all  # noqa: PLC0415 - late: not every command needs it

    sys.exit(run_all())


@cli.command()
def down() -> None:
    """End the server that a run by hand started."""
    from overnight.cli.server import stop_server  # noqa: PLC0415 - late: not every command needs it

    click.echo(stop_server())


def main() -> None:
    """Run the command line; a foreseeable fault is one line on standard error and exit code 1."""
    try:
        cli()
    except OvernightError as error:
        click.echo(f"overnight: {' '.join(str(error).split())}", err=True)
        sys.exit(1)
