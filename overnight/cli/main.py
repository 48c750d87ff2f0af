"""The commands and their options; what each does is imported when it is called, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from overnight import __version__
from overnight.cli.afterwards import AFTERWARDS
from overnight.cli.completion import complete_flow, complete_prompt, complete_run, complete_sink
from overnight.cli.inward import INWARD
from overnight.cli.making import MAKING
from overnight.cli.options import MOST, by_time, json_, mode
from overnight.cli.outward import OUTWARD
from overnight.cli.serve import serve
from overnight.cli.together import TOGETHER
from overnight.failures import OvernightError

_SOURCE = (
    "The dataset: a .csv, .jsonl or .parquet file, a folder or pattern of them, a URL (s3://, gs://, az://, https://),"
    " quarantine:RUN or inbox:PROMPT."
)


def _check_source(_context: click.Context, _option: click.Parameter, source: str | None) -> str | None:
    """Before the flow run's parameters are recorded: a URL may hold a password."""
    if source and "://" in source:
        from overnight.intake import check_source  # noqa: PLC0415 - late: pyarrow takes a while

        check_source(source)
    return source


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def cli() -> None:
    """Run datasets through language models at night, and hold what would leave until a person has read it."""


@cli.command()
@click.argument("flow", shell_complete=complete_flow)
@click.option("--source", callback=_check_source, help=_SOURCE)
@click.option("--model", help="PROVIDER:NAME, such as openai:gpt-5-mini. Default: the prompt's own.")
@click.option(
    "--sink",
    help="Where released rows go: an address, or a name that pyproject.toml gives one.",
    shell_complete=complete_sink,
)
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@click.option("--concurrency", type=click.IntRange(1), help="Calls in flight.  [default: 16]")
@click.option("--budget", type=click.FloatRange(0), help="Halt before the run costs more than this, in US dollars.")
@click.option(
    "--shadow",
    help="A prompt that a sample of the rows is asked too, to compare: NAME, NAME@PROVIDER:MODEL.",
    shell_complete=complete_prompt,
)
@click.option("--shadow-rows", type=click.IntRange(1), help="Rows of that sample.  [default: 200]")
@click.option("--shadow-budget", type=click.FloatRange(0), help="What it may cost, in US dollars.  [default: 1]")
@mode
@by_time
@click.option(
    "--wait/--no-wait",
    default=False,
    help="At the gate, and for batches: stay until somebody decides, or they are answered; or end.  [default: no-wait]",
)
@json_
def run(flow: str, **options: Any) -> None:
    """Run a flow of flows/ by hand, now."""
    from overnight.cli.run import run_flow  # noqa: PLC0415 - late: Prefect takes seconds

    sys.exit(run_flow(flow, **options))


@cli.command()
@click.argument("flow", shell_complete=complete_flow)
@click.option("--source", callback=_check_source, help=_SOURCE)
@click.option("--model", help="PROVIDER:NAME, such as openai:gpt-5-mini. Default: the prompt's own.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows.")
@mode
@by_time
@json_
def plan(flow: str, **options: Any) -> None:
    """Say what a run would do: hits, rows to ask and why, tokens, cost; calls nothing."""
    from overnight.cli.plan import plan_flow  # noqa: PLC0415 - late: Prefect takes seconds
    from overnight.complete.mode import refuse_time_online  # noqa: PLC0415 - the same

    refuse_time_online(options["mode"], options["by_time"])
    sys.exit(plan_flow(flow, **options))


@cli.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option(
    "--answers", type=click.Path(path_type=Path), help="A JSON file with the verdicts, or - for standard input."
)
@click.option("--reviewer", help="Your name; it is kept with the decision.")
@click.option("--code", help="Your one-time code, where reviewers are enrolled.")
@click.option("--web", is_flag=True, help="Read on a page of your browser, served on this machine alone.")
@click.option("--held", is_flag=True, help="Offer once more, as a release of their own, the rows that were held back.")
@json_
def review(run: str | None, **options: Any) -> None:
    """Read what waits, give verdicts, and continue the run."""
    from overnight.cli.review import review_run  # noqa: PLC0415 - late: not every command needs it

    sys.exit(review_run(run, **options))


@cli.command()
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many runs.")
@json_
def runs(limit: int, *, as_json: bool) -> None:
    """List the newest runs and where they stand."""
    from overnight.cli.show import show_runs  # noqa: PLC0415 - late: not every command needs it

    show_runs(limit, as_json=as_json)


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


@cli.command()
@click.option("--calls/--no-calls", "probes", default=True, help="Ask each model one small thing.  [default: calls]")
@json_
def doctor(*, probes: bool, as_json: bool) -> None:
    """Look at all that a night needs: models, ledger, server, pool, worker, clock, disk; and say what to do."""
    from overnight.cli.doctor.show import examine  # noqa: PLC0415 - late: not every command needs it

    sys.exit(examine(probes=probes, as_json=as_json))


for command in (*MAKING, *INWARD, serve, *TOGETHER, *AFTERWARDS, *OUTWARD):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a foreseeable fault is one line on standard error and exit code 1."""
    try:
        cli()
    except OvernightError as error:
        click.echo(f"overnight: {' '.join(str(error).split())}", err=True)
        sys.exit(1)
