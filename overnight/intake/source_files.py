"""What kind of file holds rows, told by its name alone; how it is opened is its finder's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from overnight.failures import InputRefused

#: For refusals.
READABLE = ".csv, .jsonl, .ndjson (each also as .gz or .zst) or .parquet"

_READERS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_COMPRESSIONS: dict[str, Literal["gzip", "zstd"]] = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Kind:
    """How a file's bytes are to be read."""

    #: csv, jsonl or parquet.
    reader: str
    #: As pyarrow calls it; None: plain.
    compression: Literal["gzip", "zstd"] | None = None


@dataclass(frozen=True)
class SourceFile:
    """One file of a source."""

    #: As refusals and reasons name it.
    name: str
    kind: Kind
    #: Its bytes as they are stored, from the first one.
    open: Callable[[], BinaryIO]
    #: Where it is on this machine; None where it is elsewhere.
    path: Path | None = None


def find_kind(name: str) -> Kind | None:
    """What the file's name says that it is."""
    path = PurePosixPath(name)
    compression = _COMPRESSIONS.get(path.suffix.lower())
    reader = _READERS.get((path.with_suffix("") if compression else path).suffix.lower())
    # A parquet file compresses its own pages, and is read from its end.
    if reader is None or (compression and reader == "parquet"):
        return None
    return Kind(reader, compression)


def get_kind(name: str) -> Kind:
    """
    What the file is.

    Raises:
        InputRefused: Nothing that can be read.
    """
    kind = find_kind(name)
    if kind is None:
        raise InputRefused(
            f"The source {name!r} is of no kind that can be read. Give a {READABLE} file, a folder of such files, or"
            " the URL of one."
        )
    return kind


def is_left_out(name: str) -> bool:
    """Whether a folder's file is none of its data, as it is for Spark and pyarrow: `.DS_Store`, `_SUCCESS`."""
    return name.startswith((".", "_"))
