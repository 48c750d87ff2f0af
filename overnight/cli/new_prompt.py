"""`overnight prompts new`: a prompt's folder, rows to try it on, its flow and deployment; nothing is overwritten."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from overnight.cli.deployments import append_deployment
from overnight.cli.new_texts import DESCRIPTION, Wanted, write_flow, write_rows, write_texts
from overnight.failures import OvernightError
from overnight.llm import parse_model

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DEPLOYMENTS = Path("prefect.yaml")


def make_prompt(name: str, *, model: str, inputs: str, id_column: str | None, flow: bool) -> None:
    """Make the prompt, and by default its flow and its deployment; say what to edit next."""
    wanted = Wanted(_check_name(name), str(parse_model(model)), _read_columns(inputs), id_column)
    prompts = Path("prompts")
    if not prompts.is_dir():
        raise OvernightError(f"There is no prompts/ in {Path.cwd()}. Go to a project's folder and try again.")
    texts = write_texts(wanted)
    files = {Path(f"data/samples/{name}.csv"): write_rows(wanted)}
    if flow:
        files[Path(f"flows/{name}.py")] = write_flow(name)
    for path in (prompts / name, *files):
        if path.exists() or path.is_symlink():
            raise OvernightError(f"{path} is there already: nothing was written. Choose another name.")
    deployed = append_deployment(_read_deployments(), flow=name, description=DESCRIPTION) if flow else None
    try:
        _write(prompts / name, texts, files, deployed)
    except OSError as error:
        raise OvernightError(
            f"Prompt {name!r} cannot be written: {error.filename}: {error.strerror}. Mend that and try again."
        ) from error
    _tell(name, is_deployed=flow)


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise OvernightError(
            f"{name!r} cannot name a prompt and its flow. Take small letters, digits and _, such as label_review."
        )
    return name


def _read_columns(inputs: str) -> tuple[str, ...]:
    columns = tuple(column.strip() for column in inputs.split(","))
    for column in columns:
        if not column.isidentifier() or keyword.iskeyword(column):
            raise OvernightError(
                f"--inputs has {column!r}, which a template cannot name. Give columns like text,subject; rename others"
                " in the source."
            )
    return columns


def _read_deployments() -> str:
    try:
        return _DEPLOYMENTS.read_text(encoding="utf-8")
    except OSError as error:
        raise OvernightError(
            f"{_DEPLOYMENTS.absolute()} cannot be read ({error.strerror}). Mend that, or take --no-flow."
        ) from error


def _write(folder: Path, texts: Mapping[str, str], files: Mapping[Path, str], deployed: str | None) -> None:
    """All of it or nothing: what was written is taken back where a later file cannot be."""
    made: list[Path] = []
    try:
        made.append(_write_folder(folder, texts))
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="") as file:
                made.append(path)
                file.write(text)
        if deployed is not None:
            _replace(_DEPLOYMENTS, deployed)
    except OSError:
        _take_back(made)
        raise


def _write_folder(folder: Path, texts: Mapping[str, str]) -> Path:
    folder.mkdir()
    try:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _replace(path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory(prefix=".prefect-", dir=path.absolute().parent) as folder:
        made = Path(folder, path.name)
        made.write_text(text, encoding="utf-8")
        made.chmod(path.stat().st_mode)
        made.replace(path)


def _take_back(made: Sequence[Path]) -> None:
    for path in made:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _tell(name: str, *, is_deployed: bool) -> None:
    edited = {
        f"prompts/{name}/prompt.md": "what is asked, of which model, of which columns",
        f"prompts/{name}/output.schema.json": "what an answer has",
        f"prompts/{name}/checks.json": "what makes an answer bad",
        f"data/samples/{name}.csv": "rows of yours to try it on",
    }
    if is_deployed:
        edited[f"flows/{name}.py"] = "where rows come from and go to"
        edited["prefect.yaml"] = "when it runs: it sleeps until its schedule says active: true"
    width = max(map(len, edited))
    click.echo(f"prompts/{name}/ is a prompt that runs as it is. What to edit:")
    for path, what in edited.items():
        click.echo(f"  {path:{width}}  {what}")
    if is_deployed:
        click.echo(f"Try it: overnight run {name}")
