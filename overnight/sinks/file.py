"""A file that holds a release whole, or stays as it was."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from overnight.payloads import sink_name
from overnight.records import Payload
from overnight.sinks.errors import DeliveryFailed


class FileSink:
    """Writes .jsonl or .parquet; a release replaces the file in one step."""

    effect = "reversible"

    def __init__(self, uri: str) -> None:
        self.uri = sink_name(uri)
        self._path = Path(self.uri.removeprefix("file:"))

    def write(self, payloads: Iterable[Payload]) -> str:
        """
        Replace the file by these rows, in order; no rows leave it as it is.

        Raises:
            DeliveryFailed: The file cannot be written; it is as it was.
        """
        bodies = [payload.body for payload in payloads]
        if not bodies:
            return f"no rows: {self._path} is left as it was"
        data = _format_parquet(bodies, self._path) if self._path.suffix == ".parquet" else b"\n".join([*bodies, b""])
        try:
            _replace_file(self._path, data)
        except OSError as error:
            raise DeliveryFailed(
                f"{self._path} cannot be written ({error.strerror}) and is as it was. Mend the folder and run again."
            ) from error
        return f"{len(bodies)} rows in {self._path}"

    def close(self) -> None:
        """Nothing is held open between releases."""


def _format_parquet(bodies: list[bytes], path: Path) -> bytes:
    rows = [orjson.loads(body) for body in bodies]
    names = dict.fromkeys(name for row in rows for name in row)
    buffer = io.BytesIO()
    try:
        table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        pq.write_table(table, buffer)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        why = " ".join(str(error).split())
        raise DeliveryFailed(
            f"The rows for {path} do not fit one parquet table ({why}). Offer them to a .jsonl file instead."
        ) from error
    return buffer.getvalue()


def _replace_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A rename outlives a power cut only when the folder has reached the disk too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
