"""The rows of a release with their inputs and answers, as a draw looks at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import ReviewRefused
from overnight.ledger.asked import find_reasked
from overnight.ledger.manifests import find_batches
from overnight.ledger.releases import find_release_rows
from overnight.ledger.reviews import find_doubted
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Answered, CheckedBatch, Release


class _Input(Mapping[str, Any]):
    """A row's input, parsed when somebody looks: of a large release nearly nobody does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __getitem__(self, name: str) -> Any:
        return orjson.loads(self._text)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(orjson.loads(self._text))

    def __len__(self) -> int:
        return len(orjson.loads(self._text))


def read_offered(connection: sa.Connection, release: Release, place: PartsPlace) -> list[Answered]:
    """
    The rows in the order of the release.

    Raises:
        ReviewRefused: The parts of the run do not hold them any more.
        PartRefused: A part is missing or altered.
    """
    rows = find_release_rows(connection, release.release_id)
    wanted = {(r.row_id, r.request_key) for r in rows}
    doubted, found = find_doubted(connection), {}
    for part in _parts(connection, release, place):
        key = (part["row_id"], part["request_key"])
        if key in wanted:
            found[key] = (part["input"], part["output"])
    reasked = find_reasked(connection, [r.request_key for r in rows])
    try:
        return [
            Answered(
                r.row_id,
                input=_Input(found[r.row_id, r.request_key][0]),
                output=orjson.loads(found.pop((r.row_id, r.request_key))[1]),
                warning=r.warning,
                was_reasked=r.request_key in reasked,
                is_doubted=r.delivery_key in doubted,
            )
            for r in rows
        ]
    except KeyError as error:
        raise ReviewRefused(
            f"Row {error.args[0][0]!r} of release {release.release_id} is not in the parts of run {release.run_id} any"
            " more. Run the flow again."
        ) from None


def _parts(connection: sa.Connection, release: Release, place: PartsPlace) -> Iterator[dict[str, Any]]:
    for batch in find_batches(connection, release.run_id, CheckedBatch):
        yield from read_part(batch.part, place).to_pylist()
