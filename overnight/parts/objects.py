"""Parts in a store of objects behind fsspec: a put is whole or nothing, and errors of its library end here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from overnight.failpoints import reach
from overnight.failures import PartMissing, PlaceUnreachable
from overnight.object_stores import LIBRARIES, is_no_bucket
from overnight.records import Part

if TYPE_CHECKING:
    from upath import UPath

#: What libraries call the time of the last put.
_PUT_AT = ("LastModified", "mtime", "last_modified")


@dataclass(frozen=True)
class PutObject:
    """An object below the place's `parts/`."""

    path: UPath
    n_bytes: int
    #: Seconds since the epoch, by the clock of the store.
    put_at: float


def read(part: Part, place: UPath) -> bytes:
    """The bytes under the part's name, by one request."""
    with _translating(part.path, place, "read"):
        try:
            return bytes(place.fs.cat_file(_locate(place, part.path)))
        except FileNotFoundError as error:
            if is_no_bucket(error):
                raise
            raise PartMissing(f"Part {part.path} is not in {place}. Run the flow again to make it anew.") from error


def write(part: Part, place: UPath, data: bytes) -> None:
    """Put the object; where it is there already, it has been put now."""
    reach("before-part")
    with _translating(part.path, place, "written"):
        place.fs.pipe_file(_locate(place, part.path), data)


def delete(part: Part, place: UPath) -> None:
    """Delete the object; one that is gone is fine."""
    with _translating(part.path, place, "deleted"), contextlib.suppress(FileNotFoundError):
        place.fs.rm_file(_locate(place, part.path))


def list_parts(place: UPath) -> Iterator[PutObject]:
    """All objects below the place's `parts/`."""
    with _translating("parts", place, "listed"):
        found = place.fs.find(_locate(place, "parts"), detail=True)
    root = _locate(place, "")
    for name, facts in sorted(found.items()):
        yield PutObject(place / name.removeprefix(root), int(facts["size"]), _read_time(facts, place))


def delete_if_old(path: UPath, *, put_at: float) -> None:
    """Delete an object that was not put again since; one that is gone is fine."""
    with _translating(path.name, path.parent, "deleted"), contextlib.suppress(FileNotFoundError):
        if _read_time(path.fs.info(path.path), path.parent) <= put_at:
            path.fs.rm_file(path.path)


def _locate(place: UPath, relative: str) -> str:
    """The object's name as the library has it; by `/` each part would have a client of its own."""
    return f"{place.path.rstrip('/')}/{relative}"


def _read_time(facts: dict[str, Any], place: UPath) -> float:
    for name in _PUT_AT:
        if isinstance(at := facts.get(name), datetime):
            return at.timestamp()
    raise PlaceUnreachable(f"{place} does not say when its objects were written. Nothing of it was deleted.")


@contextlib.contextmanager
def _translating(name: str, place: UPath, done: str) -> Iterator[None]:
    try:
        yield
    except LIBRARIES[place.protocol].list_errors() as error:
        said = " ".join(str(error).split())[:200]
        raise PlaceUnreachable(
            f"Part {name} cannot be {done} in {place} ({type(error).__name__}: {said}). Mend the network, the rights or"
            " the bucket, and run again: what was answered is kept."
        ) from error
