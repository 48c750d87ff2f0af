"""Trying a place of parts, beside what is in it."""

from __future__ import annotations

import uuid
from pathlib import Path

from overnight.failures import PartRefused
from overnight.keys import digest_bytes
from overnight.parts import files, objects
from overnight.place import PartsPlace
from overnight.records import Part

_DATA = b"overnight"


def probe_place(place: PartsPlace) -> None:
    """
    Write, read and delete a small file or object, outside of `parts/`; a folder that is not there is made.

    Raises:
        PartRefused: It cannot be written, read or deleted, or is read otherwise than it was written.
        PlaceUnreachable: A store of objects does not answer, or refuses.
    """
    probe = Part(f"probe/{uuid.uuid4().hex}", digest_bytes(_DATA), 0)
    if isinstance(place, Path):
        files.write(probe, place, _DATA)
        try:
            found = files.read(probe, place)
        finally:
            files.delete(probe, place)
    else:
        objects.write(probe, place, _DATA)
        try:
            found = objects.read(probe, place)
        finally:
            objects.delete(probe, place)
    if found != _DATA:
        raise PartRefused(f"What was written to {place} is read back otherwise. Look what stands between.")
