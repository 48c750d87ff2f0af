"""The commands that make something: a project, a prompt; and what completes their names in a shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from overnight.cli.options import json_


@click.command()
@click.argument("folder", metavar="DIR", required=False, type=click.Path(path_type=Path))
@click.option("--tasks", "only_tasks", is_flag=True, help="After an upgrade: write tasks/ of a project anew.")
def init(folder: Path | None, *, only_tasks: bool) -> None:
    """Make a new project in DIR, with a sample that runs at once."""
    if only_tasks:
        from overnight.cli.tasks import renew_tasks  # noqa: PLC0415 - late: not every command needs it

        renew_tasks(folder or Path())
        return
    if folder is None:
        raise click.UsageError("Missing argument 'DIR'.")
    from overnight.cli.init import make_project  # noqa: PLC0415 - late: not every command needs it

    make_project(folder)


@click.group(invoke_without_command=True)
@json_
@click.pass_context
def prompts(context: click.Context, *, as_json: bool) -> None:
    """List the prompts of the project: model, columns, checks, hashes; make new ones."""
    if context.invoked_subcommand is None:
        from overnight.cli.prompts import show_prompts  # noqa: PLC0415 - late: not every command needs it

        sys.exit(show_prompts(as_json=as_json))


@prompts.command()
@click.argument("name")
@click.option("--model", default="local:smollm2-135m", show_default=True, help="PROVIDER:NAME.")
@click.option("--inputs", default="text", show_default=True, metavar="a,b", help="The columns that it reads.")
@click.option("--id", "id_column", metavar="COLUMN", help="The column that names a row.  [default: its number]")
@click.option("--flow/--no-flow", default=True, help="With a flow and its deployment, or without.  [default: flow]")
def new(name: str, **options: Any) -> None:
    """Make the prompt NAME and a flow for it; both run as they are."""
    from overnight.cli.new_prompt import make_prompt  # noqa: PLC0415 - late: not every command needs it

    make_prompt(name, **options)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """
    Print what completes commands and names in SHELL.

    bash: echo 'eval "$(overnight completion bash)"' >> ~/.bashrc

    zsh: echo 'eval "$(overnight completion zsh)"' >> ~/.zshrc

    fish: overnight completion fish > ~/.config/fish/completions/overnight.fish
    """
    from overnight.cli.completion import print_script  # noqa: PLC0415 - late: not every command needs it

    print_script(context.find_root().command, shell)


MAKING = (init, prompts, completion)
