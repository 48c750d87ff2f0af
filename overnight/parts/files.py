"""Parts in a folder of this machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pyarrow as pa

from overnight.failpoints import reach
from overnight.failures import PartMissing, PartRefused
from overnight.parts.columns import find_in
from overnight.records import Part


def read(part: Part, place: Path) -> bytes:
    """The bytes under the part's name."""
    try:
        return (place / part.path).read_bytes()
    except OSError as error:
        kind = PartMissing if isinstance(error, FileNotFoundError) else PartRefused
        raise kind(
            f"Part {part.path} cannot be read ({error.strerror}). Run the flow again to make it anew."
        ) from error


def find(part: Part, place: Path, column: str, value: str) -> int | None:
    """As `find_row`; only what is needed of the file is read."""
    try:
        with pa.OSFile(str(place / part.path), "r") as source:
            return find_in(source, column, value)
    except (OSError, pa.ArrowException) as error:
        raise PartRefused(f"Part {part.path} cannot be read ({error}). Run the flow again to make it anew.") from error


def touch(part: Part, place: Path) -> None:
    """It is about to be used: no purge takes it for old meanwhile."""
    with contextlib.suppress(OSError):
        os.utime(place / part.path)


def write(part: Part, place: Path, data: bytes) -> None:
    """Write the file; under its name it is whole or not there, also after a loss of power."""
    path = place / part.path
    try:
        _write_whole(path, data)
    except OSError as error:
        raise PartRefused(
            f"Part {path} cannot be written ({error.strerror}). Make room, and run again: what was answered is kept."
        ) from error


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reach("before-part")
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)  # half of it only takes room
        raise


def delete(part: Part, place: Path) -> None:
    """Delete the file, and its folder where nothing else is in it."""
    path = place / part.path
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PartRefused(
            f"Part {path} cannot be deleted ({error.strerror}). Mend the rights in its folder."
        ) from error
    with contextlib.suppress(OSError):
        path.parent.rmdir()
