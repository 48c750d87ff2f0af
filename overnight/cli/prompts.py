"""`overnight prompts`: what a project asks: each prompt's model, columns, checks and hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from overnight.checks import parse_checks
from overnight.cli.show import print_json
from overnight.complete import resolve_prompt
from overnight.failures import OvernightError
from overnight.llm import endpoint_of, parse_model
from overnight.prompts import load_prompt

#: Characters of a hash that the terminal shows.
_HASH = 12


def show_prompts(*, as_json: bool) -> int:
    """List the prompts of the project; 1 where one of them would be refused, else 0."""
    folder = Path("prompts")
    if not folder.is_dir():
        raise OvernightError(f"There is no prompts/ in {Path.cwd()}. Go to a project's folder and try again.")
    found = [_describe(path.name) for path in sorted(folder.iterdir()) if _is_prompt(path)]
    if as_json:
        print_json(found)
    else:
        for prompt in found:
            click.echo(_say(prompt))
        if not found:
            click.echo("There are no prompts yet. `overnight prompts new NAME` makes one.")
    return 1 if any("refused" in prompt for prompt in found) else 0


def _is_prompt(path: Path) -> bool:
    return path.is_dir() and path.name.isidentifier() and path.name != "__pycache__"


def _describe(name: str) -> dict[str, Any]:
    try:
        loaded = load_prompt(name)
        checks = parse_checks(loaded.checks, prompt=name, code=loaded.code)
        # Where it would be asked now, whether or not a key is there for it.
        prompt = resolve_prompt(loaded, endpoint=endpoint_of(parse_model(loaded.model)))
    except OvernightError as error:
        return {"name": name, "refused": str(error)}
    return {
        "name": name,
        "model": prompt.model,
        "id": prompt.id_column,
        "inputs": list(prompt.inputs),
        "optional_inputs": list(prompt.optional_inputs),
        "row_checks": len(checks.row),
        "batch_checks": len(checks.batch),
        "prompt_hash": prompt.prompt_hash,
        "checks_hash": prompt.checks_hash,
    }


def _say(prompt: dict[str, Any]) -> str:
    if "refused" in prompt:
        return f"{prompt['name']}: refused\n    {prompt['refused']}"
    columns = [*prompt["inputs"], *(f"{column}?" for column in prompt["optional_inputs"])]
    named = f"; rows are named by {prompt['id']}" if prompt["id"] else ""
    return (
        f"{prompt['name']}: {prompt['model']}, prompt {prompt['prompt_hash'][:_HASH]}\n"
        f"    reads {', '.join(columns)}{named}; {prompt['row_checks']} row checks and"
        f" {prompt['batch_checks']} batch checks, {prompt['checks_hash'][:_HASH]}"
    )
