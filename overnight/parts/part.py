"""Writing, reading and finding of parts; where they are in a store that does not answer, each is `PlaceUnreachable`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from overnight.failures import PartRefused
from overnight.keys import digest_bytes
from overnight.parts import columns as parquet
from overnight.parts import files, objects
from overnight.place import PartsPlace
from overnight.records import Part


def write_part(rows: Sequence[Mapping[str, Any]], place: PartsPlace) -> Part:
    """Write rows as a part into `place`; the same rows give the same part, and an existing one is kept."""
    return write_columns({name: [row.get(name) for row in rows] for name in parquet.PART_SCHEMA.names}, place)


def write_columns(columns: Mapping[str, Sequence[Any]], place: PartsPlace) -> Part:
    """
    Write columns of one length as a part, as `write_part` writes rows.

    Args:
        columns: By name; one that is not given is null. A text may be given as its UTF-8 bytes.
        place: Where parts are.

    Raises:
        PartRefused: The file cannot be written.
    """
    data = parquet.encode(columns)
    digest = digest_bytes(data)
    part = Part(f"parts/{digest[:2]}/{digest}.parquet", digest, len(columns["row_id"]))
    if not isinstance(place, Path):
        # Not read before: a put of what is there already is harmless, and one request instead of two.
        objects.write(part, place, data)
    elif not is_whole(part, place):
        files.write(part, place, data)
    return part


def read_columns(part: Part, place: PartsPlace) -> dict[str, list[Any]]:
    """
    The columns of a part by name, each in the order of its rows; a third of the time of row dicts.

    Raises:
        PartRefused: The part is missing, or its bytes are not those that were written.
    """
    return read_part(part, place).to_pydict()


def read_part(part: Part, place: PartsPlace) -> pa.Table:
    """
    The rows of a part, (n, 10) in the order they were written.

    Raises:
        PartRefused: The part is missing, or its bytes are not those that were written.
    """
    return parquet.decode(_read_bytes(part, place))


def verify_part(part: Part, place: PartsPlace) -> None:
    """
    Make sure that a part can be read, without reading its rows.

    Raises:
        PartRefused: The part is missing, or its bytes are not those that were written.
    """
    _read_bytes(part, place)


def find_row(part: Part, place: PartsPlace, column: str, value: str) -> int | None:
    """
    The position of the first row of a part with this value in a column.

    Of a file no other column is read, nor the digest. An object is read whole, by one request: the ranges of its footer
    and of the column would take three.

    Raises:
        PartRefused: The part is missing, or is no parquet file.
    """
    if isinstance(place, Path):
        return files.find(part, place, column, value)
    return parquet.find_in(pa.BufferReader(_read_bytes(part, place)), column, value)


def is_whole(part: Part, place: PartsPlace) -> bool:
    """
    Whether the part is there, unaltered; it is about to be used, and no purge takes it for old meanwhile.

    Raises:
        PlaceUnreachable: A store of objects does not answer: whether it is there is not known.
    """
    try:
        data = files.read(part, place) if isinstance(place, Path) else objects.read(part, place)
    except PartRefused:
        return False
    if digest_bytes(data) != part.digest:
        return False
    if isinstance(place, Path):
        files.touch(part, place)
    else:
        # A store knows only when an object was put.
        objects.write(part, place, data)
    return True


def _read_bytes(part: Part, place: PartsPlace) -> bytes:
    data = files.read(part, place) if isinstance(place, Path) else objects.read(part, place)
    if digest_bytes(data) != part.digest:
        raise PartRefused(f"Part {part.path} was altered after it was written. Delete it and run the flow again.")
    return data
