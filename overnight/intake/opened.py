"""A file's bytes as a stream: decompressed where it is compressed, and refused where it expands beyond measure."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO

import pyarrow as pa

from overnight.failures import InputRefused
from overnight.intake.source_files import SourceFile

#: Bytes that are out before the ratio is judged, and the most that one byte may become: a table in text comes to 50
#: at the most, a bomb in gzip to 230 or 1,000.
_JUDGED_FROM, _MOST_FOLD = 2**24, 200
_AT_ONCE = 2**20


@contextmanager
def open_stream(file: SourceFile) -> Iterator[BinaryIO]:
    """
    The file's bytes, streamed: what is in memory does not grow with the file.

    Raises:
        InputRefused: While it is read: it is not what its name says, cut short, or a bomb.
    """
    with closing(_open(file)) as stored:
        if file.kind.compression is None:
            yield stored
            return
        with closing(io.BufferedReader(_Expanded(stored, file), _AT_ONCE)) as stream:
            yield stream


def _open(file: SourceFile) -> BinaryIO:
    try:
        return file.open()
    except OSError as error:
        raise InputRefused(f"{file.name} cannot be opened ({error.strerror}). Check that it is still there.") from error


class _Counted(io.RawIOBase):
    """The compressed bytes, counted."""

    def __init__(self, stored: BinaryIO) -> None:
        self._stored = stored
        self.n_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stored.read(size)
        self.n_bytes += len(data)
        return data


class _Expanded(io.RawIOBase):
    """The bytes that the compressed ones stand for."""

    def __init__(self, stored: BinaryIO, file: SourceFile) -> None:
        self._file = file
        self._stored = _Counted(stored)
        # pyarrow's, because it tells a file that was cut short from one that ends.
        self._stream = pa.CompressedInputStream(pa.PythonFile(self._stored, "r"), file.kind.compression or "gzip")
        self._n_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:
            why = " ".join(str(error).split())
            raise InputRefused(
                f"{self._file.name} cannot be decompressed as {self._file.kind.compression} ({why}). Write it again, or"
                " give the file itself."
            ) from error
        self._n_bytes += len(data)
        if self._n_bytes > max(_JUDGED_FROM, _MOST_FOLD * self._stored.n_bytes):
            raise InputRefused(
                f"{self._file.name} expands more than {_MOST_FOLD}-fold, as no table does. Look what is in it; if it is"
                " meant, decompress it first."
            )
        buffer[: len(data)] = data
        return len(data)
