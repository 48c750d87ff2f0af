"""A file that holds a release whole, or stays as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from overnight.records import Payload
from overnight.sinks.contract import Consignment, Outcome, Sink
from overnight.sinks.errors import DeliveryDeferred, DeliveryFailed
from overnight.sinks.formats import format_rows, get_release_part, is_same_file, refuse_unfit, settle_all


class FileSink(Sink):
    """
    Writes .jsonl, .csv or .parquet; a release replaces the file in one step.

    A file that was no release's is kept beside it as `.NAME.before-RELEASE_ID`, and stays there after a recall: by it a
    recall that is taken up again knows that the file is back.
    """

    effect = "reversible"
    operation = "replace"
    dedupes = True
    n_at_once = None
    replaces = True

    def __init__(self, name: str) -> None:
        self._path = Path(name.removeprefix("file:"))

    def check(self, sample: Payload) -> None:
        """Refuse a row that no such file can hold."""
        refuse_unfit(sample.body, self._path.suffix, str(self._path))

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """Replace the file by these rows, in order; no rows leave it as it is."""
        if not consignment.payloads:
            return []
        try:
            ours = self._format(consignment)
        except DeliveryFailed as error:
            return settle_all(consignment, is_delivered=False, detail=str(error))
        with self._deferring():
            self._put(ours, consignment)
        detail = f"{len(consignment.payloads)} rows in {self._path}"
        return settle_all(consignment, is_delivered=True, detail=detail)

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:
        """Put back what stood there: the release before, else the file that was kept, else none."""
        if not consignment.payloads:
            return []
        try:
            with self._deferring():
                detail = self._restore(self._format(consignment), consignment, before)
        except DeliveryFailed as error:
            return settle_all(consignment, is_delivered=False, detail=str(error))
        return settle_all(consignment, is_delivered=True, detail=detail)

    def _format(self, consignment: Consignment) -> bytes:
        bodies = [payload.body for payload in consignment.payloads]
        return format_rows(bodies, self._path.suffix, str(self._path))

    def _put(self, ours: bytes, consignment: Consignment) -> None:
        found = self._find_bytes()
        if found is not None and self._is_same(found, ours):
            # Taken up again after a kill: the rows are there, and to keep them beside would restore them at a recall.
            _sync_folder(self._path.parent)
            return
        if found is not None and not consignment.replaces_release:
            self._keep_beside(found, consignment)
        _write_whole(self._path, lambda temporary: _write_synced(temporary, ours))

    def _keep_beside(self, found: bytes, consignment: Consignment) -> None:
        kept = self._kept_path(consignment)
        if not kept.exists():
            _link_or_copy(self._path, kept)
        elif kept.read_bytes() != found:
            raise DeliveryDeferred(
                f"{self._path} is neither release {consignment.release_id} nor what stood there before it, which is"
                f" kept as {kept}. Move one of the two away and deliver again."
            )

    def _restore(self, ours: bytes, consignment: Consignment, before: Consignment | None) -> str:
        found = self._find_bytes()
        kept = self._kept_path(consignment)
        if before is not None and before.payloads:
            theirs = self._format(before)
            if self._must_restore(found, ours, theirs, consignment):
                _write_whole(self._path, lambda temporary: _write_synced(temporary, theirs))
            return f"{self._path} holds release {before.release_id} again"
        if kept.exists():
            if self._must_restore(found, ours, kept.read_bytes(), consignment):
                _write_whole(self._path, lambda temporary: _link_or_copy(kept, temporary))
            return f"{self._path} is again what it was before"
        if self._must_restore(found, ours, None, consignment):
            self._path.unlink()
            _sync_folder(self._path.parent)
        return f"{self._path} is removed"

    def _must_restore(self, found: bytes | None, ours: bytes, target: bytes | None, consignment: Consignment) -> bool:
        """Whether the file is this release's still; False where it is already as it is to be."""
        if found == target or (found and target and self._is_same(found, target)):
            return False
        if found is None or not self._is_same(found, ours):
            raise DeliveryFailed(
                f"{self._path} was changed since release {consignment.release_id}: it is left as it is."
            )
        return True

    def _is_same(self, found: bytes, ours: bytes) -> bool:
        return is_same_file(found, ours, self._path.suffix)

    def _kept_path(self, consignment: Consignment) -> Path:
        return self._path.with_name(f".{self._path.name}.before-{get_release_part(consignment)}")

    def _find_bytes(self) -> bytes | None:
        if not self._path.exists():
            return None
        if not (self._path.is_file() or self._path.is_dir()):
            # To read a pipe would wait for whoever writes to it.
            raise DeliveryDeferred(f"{self._path} is not a plain file and is left as it was. Move it away, try again.")
        return self._path.read_bytes()

    @contextlib.contextmanager
    def _deferring(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DeliveryDeferred(
                f"{self._path} cannot be written ({error.strerror}) and is as it was. Mend the folder and run again."
            ) from error


def _write_whole(path: Path, make: Callable[[Path], None]) -> None:
    """Put a file in the place of another in one step: whoever reads sees the one or the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        make(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link_or_copy(source: Path, target: Path) -> None:
    """The file under a second name; where the file system knows no links, a copy that appears at once."""
    try:
        os.link(source, target)
    except OSError:
        _write_whole(target, lambda temporary: _copy_synced(source, temporary))
    else:
        _sync_folder(target.parent)


def _copy_synced(source: Path, target: Path) -> None:
    _write_synced(target, source.read_bytes())
    shutil.copystat(source, target)


def _sync_folder(folder: Path) -> None:
    """A rename outlives a power cut only when the folder has reached the disk too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
