"""`overnight init --tasks`: a project's tasks/ anew, and what somebody changed in the old one kept beside it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from overnight import __version__
from overnight.cli.carried import find_carried, list_tasks
from overnight.cli.lacking import find_lacking
from overnight.failures import OvernightError
from overnight.keys import digest_bytes

#: What was written, by file, so that a later version sees what was changed since.
_STAMP = ".written.json"
_MADE = {_STAMP, "__pycache__"}
_VERSION = re.compile(r'^VERSION = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Edits:
    """What somebody did to tasks/ since it was written; names of files."""

    changed: tuple[str, ...]
    #: They stay, since flows may need them.
    added: tuple[str, ...]


def refuse_misfit(project: Path) -> None:
    """
    Refuse a project whose tasks/ is of another version, before anything is started.

    Raises:
        OvernightError: It is.
    """
    version = find_version(project)
    if version not in (None, __version__):
        raise OvernightError(
            f"tasks/ of this project is of overnight {version}, and overnight {__version__} is installed. Write it anew"
            " by `overnight init --tasks` in the project's folder, or install the other version."
        )


def find_version(project: Path) -> str | None:
    """The version that the project's tasks/ is of, where it says one."""
    try:
        found = _VERSION.search((project / "tasks/_version.py").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None


def stamp_tasks(tasks: Path) -> None:
    """Write down what the files of tasks/ are now."""
    files = {path.name: digest_bytes(path.read_bytes()) for path in sorted(tasks.glob("*.py"))}
    (tasks / _STAMP).write_text(json.dumps({"version": __version__, "files": files}, indent=1) + "\n")


def renew_tasks(project: Path) -> None:
    """Write tasks/ of this version; where somebody changed files, the old folder is kept and they are named."""
    project = project.absolute()
    old = project / "tasks"
    if not (old / "__init__.py").is_file() or not (project / "flows").is_dir():
        raise OvernightError(f"{project} has no flows/ and tasks/. Go to a project's folder and try again.")
    if old.samefile(find_carried() / "tasks"):
        raise OvernightError(f"{old} is where new projects get theirs from: there is nothing to write anew.")
    before, edits = find_version(project) or "unknown", find_edits(old)
    kept = _name_kept(project, before) if edits.changed else None
    try:
        _replace(old, edits, kept)
    except OSError as error:
        raise OvernightError(
            f"{old} cannot be written anew: {error.strerror or error}. Mend that and try again."
        ) from error
    _tell(before, edits, kept)
    for line in find_lacking(project).describe():
        click.echo(line)


def find_edits(tasks: Path) -> Edits:
    """What differs from what was written; without a record of it, from what this version has."""
    new = {path.name: digest_bytes(content) for path, content in list_tasks()}
    written = _read_stamp(tasks) or new
    changed: list[str] = []
    added: list[str] = []
    for path in sorted(tasks.iterdir()):
        name, digest = path.name, digest_bytes(path.read_bytes()) if path.is_file() else None
        if name in _MADE or (digest and digest in (written.get(name), new.get(name))):
            continue
        # Added under a name that this version has a file of its own for: kept beside, like one that was changed.
        (changed if name in written or name in new else added).append(name)
    return Edits(tuple(changed), tuple(added))


def _read_stamp(tasks: Path) -> dict[str, str] | None:
    try:
        found = json.loads((tasks / _STAMP).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else None


def _name_kept(project: Path, version: str) -> Path:
    """Where the old folder goes: a name with a hyphen, which nothing imports."""
    names = (f"tasks-{version}" + (f"-{n}" if n else "") for n in range(1000))
    return next(path for name in names if not (path := project / name).exists())


def _replace(old: Path, edits: Edits, kept: Path | None) -> None:
    new = Path(tempfile.mkdtemp(prefix=".tasks-", dir=old.parent))
    try:
        for path, content in list_tasks():
            (new / path.name).write_bytes(content)
        stamp_tasks(new)
        for name in edits.added:
            copy = shutil.copytree if (old / name).is_dir() else shutil.copy2
            copy(old / name, new / name)
        new.chmod(old.stat().st_mode)
        gone = kept or old.with_name(f"{new.name}-gone")
        old.rename(gone)
        try:
            new.rename(old)
        except OSError:
            gone.rename(old)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if kept is None:
        shutil.rmtree(gone, ignore_errors=True)


def _tell(before: str, edits: Edits, kept: Path | None) -> None:
    click.echo(f"tasks/ is of overnight {__version__} now; it was of {before}.")
    if edits.added:
        click.echo(f"Yours, and still there: {', '.join(edits.added)}.")
    if kept:
        click.echo(f"You had changed {', '.join(edits.changed)}: the old folder is kept as {kept.name}/.")
        click.echo(f"See what to carry over: diff -ru {kept.name} tasks")
