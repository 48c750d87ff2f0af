"""The files of a source on this machine: one, those of a folder, or those that a pattern names, in a stable order."""

from __future__ import annotations

import glob
import stat
from collections.abc import Iterable
from pathlib import Path

from overnight.failures import InputRefused
from overnight.intake.source_files import READABLE, SourceFile, find_kind, get_kind, is_left_out


def find_local_files(source: str) -> list[SourceFile]:
    """
    The files that the path names, by name; a folder inside a folder is taken by a pattern alone.

    Raises:
        InputRefused: There is none, one is of another kind, or one lies outside the folder.
    """
    path = Path(source)
    # A file may have the signs of a pattern in its name.
    if glob.has_magic(source) and not path.exists():
        return _find_matching(source)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        # Of a file that could not be read anyway it matters less that it is not there.
        get_kind(source)
        raise _make_refusal(path, error) from error
    if not is_folder:
        return [_describe(path)]
    return _find_in_folder(path)


def _find_in_folder(folder: Path) -> list[SourceFile]:
    try:
        found = sorted(path for path in folder.iterdir() if not is_left_out(path.name))
    except OSError as error:
        raise _make_refusal(folder, error) from error
    for path in found:
        if path.is_dir():
            raise InputRefused(
                f"{folder} holds the folder {path.name!r}, which would not be read. Give {folder}/** to read it too, or"
                f" a pattern such as {folder}/*.csv."
            )
    return _describe_all(found, folder, f"{folder}/*.csv")


def _find_matching(pattern: str) -> list[SourceFile]:
    folder = _find_base(pattern)
    matching = map(Path, glob.iglob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    found = sorted({path for path in matching if not path.is_dir() and not _is_left_out_below(path, folder)})
    return _describe_all(found, folder, "a pattern that names the others alone")


def _find_base(pattern: str) -> Path:
    """The folder that the pattern begins with: nothing outside it is read."""
    parts = Path(pattern).parts
    n_plain = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:n_plain])


def _is_left_out_below(path: Path, folder: Path) -> bool:
    return any(is_left_out(part) for part in path.relative_to(folder).parts)


def _describe_all(found: Iterable[Path], folder: Path, other: str) -> list[SourceFile]:
    paths = list(found)
    for path in paths:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputRefused(
                f"{path} is a link that leads out of {folder}. Copy the file there, or take the link out."
            )
        if find_kind(path.name) is None:
            raise InputRefused(
                f"{path} is of no kind that can be read ({READABLE}). Move it elsewhere, or give {other} as the source."
            )
    if not paths:
        raise InputRefused(f"{folder} has no file to read there. Give a folder or a pattern with a {READABLE} file.")
    return [_describe(path) for path in paths]


def _describe(path: Path) -> SourceFile:
    kind = get_kind(str(path))
    try:
        found = path.stat()
        with path.open("rb") if stat.S_ISREG(found.st_mode) else _refuse_special(path):
            pass
    except OSError as error:
        raise _make_refusal(path, error) from error
    if not found.st_size:
        raise InputRefused(f"{path} is empty. Give a file with at least one row.")
    return SourceFile(str(path), kind, lambda: path.open("rb"), path)


def _refuse_special(path: Path) -> Path:
    """Reading a pipe or a device may never end."""
    raise InputRefused(f"{path} is neither a file nor a folder. Save its rows to a file first.")


def _make_refusal(path: Path, error: OSError | ValueError) -> InputRefused:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return InputRefused(f"{path} cannot be opened ({why}). Check the path, which is relative to {Path.cwd()}.")
