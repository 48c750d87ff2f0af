"""A file that is read from its end, as a path: one that is elsewhere is brought here first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from overnight.failures import InputRefused
from overnight.intake.opened import open_stream
from overnight.intake.source_files import SourceFile

#: Of a file that is brought here.
MOST_BYTES = 2**36
_AT_ONCE = 2**20


@contextmanager
def get_path(file: SourceFile) -> Iterator[Path]:
    """
    Where the file is on this machine, while it is read; a copy leaves nothing behind.

    Raises:
        InputRefused: It cannot be brought here.
    """
    if file.path is not None:
        yield file.path
        return
    with tempfile.NamedTemporaryFile(prefix="overnight-source-", suffix=".parquet") as copy:
        with open_stream(file) as stream:
            _copy(stream, cast("BinaryIO", copy), file)
        yield Path(copy.name)


def _copy(stream: BinaryIO, copy: BinaryIO, file: SourceFile) -> None:
    n_bytes = 0
    try:
        while data := stream.read(_AT_ONCE):
            n_bytes += len(data)
            if n_bytes > MOST_BYTES:
                raise InputRefused(
                    f"{file.name} has more than {MOST_BYTES:,} bytes. Cut it into several files, or bring it here."
                )
            copy.write(data)
        copy.flush()
    except OSError as error:
        raise InputRefused(
            f"{file.name} cannot be copied to {tempfile.gettempdir()} to be read from there ({error.strerror}). Make"
            " room, or set TMPDIR to where there is some."
        ) from error
