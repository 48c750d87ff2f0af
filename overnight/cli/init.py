"""`overnight init`: a new project that runs at once, and its tasks/ anew after an upgrade."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import click

from overnight.cli.carried import list_files, list_flows, read_deployments
from overnight.cli.deployments import keep_deployments
from overnight.cli.tasks import stamp_tasks
from overnight.failures import OvernightError

#: A name that a package index takes too.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_MOST = 64
_NEXT = (
    "overnight run triage_tickets --limit 5     # the sample through the embedded model, up to the gate",
    "overnight review                           # read, and let rows leave or not",
    "overnight prompts new NAME                 # a prompt and a flow of your own",
)


def make_project(folder: Path) -> None:
    """Make the project, whole or not at all, and say what to do next."""
    target = Path(os.path.normpath(folder.absolute()))
    name = _check_name(target.name)
    _refuse_taken(target)
    try:
        # Beside it, or in it: a folder that is there may be all that one may write to.
        made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target if target.is_dir() else target.parent))
        try:
            _write(made, name)
            _put(made, target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise OvernightError(
            f"No project can be made at {target}: {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    click.echo(f"{target} is a project: prompts/, flows/, tasks/, tests/, data/samples/, prefect.yaml. Next:")
    for line in (*([] if target == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]), *_NEXT):
        click.echo(f"  {line}")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > _MOST:
        raise OvernightError(
            f"{name!r} cannot be the name of a project. Take letters, digits, - and _, at most {_MOST} of them, such as"
            " my-nights."
        )
    if re.sub(r"[-_.]+", "-", name).lower() == "overnight":
        raise OvernightError("A project that is named overnight would need itself. Name it for what it does.")
    return name


def _refuse_taken(target: Path) -> None:
    if not target.parent.is_dir():
        raise OvernightError(f"There is no folder {target.parent}. Make it first, or choose another.")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OvernightError(f"{target} is there already, and is no folder. Choose another.")
    if target.is_dir() and any(target.iterdir()):
        raise OvernightError(
            f"{target} is not empty: nothing was written. Choose a new folder, or --tasks to renew a project's tasks/."
        )


def _write(folder: Path, name: str) -> None:
    for path, content in list_files(name=name):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    flows = {flow.stem for flow in list_flows()}
    (folder / "prefect.yaml").write_text(keep_deployments(read_deployments(), name=name, flows=flows), encoding="utf-8")
    stamp_tasks(folder / "tasks")


def _put(made: Path, target: Path) -> None:
    """Move it to where it belongs: at once, or into a folder that is there and empty."""
    if target.is_dir():
        for path in made.iterdir():
            # Fails where somebody has put something of that name there meanwhile.
            path.rename(target / path.name)
        return
    umask = os.umask(0)
    os.umask(umask)
    made.chmod(0o777 & ~umask)
    made.rename(target)
