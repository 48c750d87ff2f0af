"""What the batches that a run has pinned need: requests, whose keys its parts name, and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from overnight.failures import PartRefused
from overnight.keys import request_key
from overnight.ledger.pinned import PinnedBatch
from overnight.parts import read_columns
from overnight.place import PartsPlace
from overnight.purge.files import AnyPath
from overnight.records import CheckedBatch, RowState


def find_keys(pinned: Iterable[PinnedBatch], place: PartsPlace) -> set[str]:
    """Their requests: those that they name, and those that they will have once they are asked."""
    return {key for batch in pinned for key in _read_keys(batch, place)}


def _read_keys(pinned: PinnedBatch, place: PartsPlace) -> Iterator[str]:
    try:
        rows = read_columns(pinned.load().part, place)
    except PartRefused:
        return  # what it named is lost already
    yield from filter(None, rows["request_key"])
    for prompt_hash in pinned.prompt_hashes:
        for given, state in zip(rows["input"], rows["state"], strict=True):
            if given and state == RowState.PENDING:
                yield request_key(given, prompt_hash)


def find_paths(pinned: Iterable[PinnedBatch], home: Path, place: PartsPlace) -> set[AnyPath]:
    """Their parts, where they are and where they were before a move, and their pages of Data Docs."""
    batches = [batch.load() for batch in pinned]
    pages: set[AnyPath] = {home / batch.docs for batch in batches if isinstance(batch, CheckedBatch) and batch.docs}
    return {root / batch.part.path for batch in batches for root in {place, home}} | pages
