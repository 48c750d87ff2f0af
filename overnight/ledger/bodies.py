"""Bodies: bytes kept once, compressed, by the digest of their plain form, which is verified when they are read."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
import zstandard

from overnight.failures import LedgerRefused
from overnight.keys import digest_bytes
from overnight.ledger.batching import batched
from overnight.ledger.columns import to_bytes
from overnight.ledger.prepared import Among, Prepared, insert
from overnight.ledger.release_schema import release_rows
from overnight.ledger.schema import bodies

#: zstd's middle ground: 2-3 microseconds a row, a third of the size.
_LEVEL = 3


_NEW = insert(bodies)
#: One whose bytes were purged has them again.
_ADD_BODY = Prepared(
    _NEW.on_conflict_do_update(
        index_elements=["digest"], set_={"data": _NEW.excluded.data}, where=sa.text("length(bodies.data) = 0")
    )
)
#: A compressor is made once a thread: making one costs more than a row's compression.
_local = threading.local()


@dataclass(frozen=True)
class Body:
    """Bytes ready to be recorded."""

    digest: str
    data: bytes

    @property
    def packed(self) -> bytes:
        """Compressed: by who writes them, not by the loop that has other calls to look after."""
        return _compressor().compress(self.data)


def make_body(data: bytes) -> Body:
    """The bytes with their digest."""
    return Body(digest_bytes(data), data)


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    found: zstandard.ZstdCompressor = _local.compressor
    return found


def record_bodies(connection: sa.Connection, made: Iterable[Body]) -> None:
    """Keep each body unless one with its digest is there."""
    # In one order, so that two writers of the same bodies never wait for each other in a circle.
    rows = sorted(made, key=attrgetter("digest"))
    values = [{"digest": to_bytes(b.digest), "data": b.packed, "n_bytes": len(b.data)} for b in rows]
    _ADD_BODY.run(connection, values)


def get_body(connection: sa.Connection, digest: str) -> bytes:
    """
    The plain bytes.

    Raises:
        LedgerRefused: They are missing, were purged, or are not those that were recorded.
    """
    data = find_body(connection, digest)
    if data is None:
        raise _purged(digest)
    return data


def get_bodies(connection: sa.Connection, digests: Sequence[str]) -> Iterator[bytes]:
    """
    The plain bytes of each, in order; as `get_body`, some hundreds at a time.

    Raises:
        LedgerRefused: Some are missing, were purged, or are not those that were recorded.
    """
    for some in batched(digests):
        found = {bytes(row.digest).hex(): row for row in _FIND_BODIES.find(connection, list(dict.fromkeys(some)))}
        for digest in some:
            data = _unpack(digest, found.get(digest))
            if data is None:
                raise _purged(digest)
            yield data


def find_body(connection: sa.Connection, digest: str) -> bytes | None:
    """
    The plain bytes; None where they were purged.

    Raises:
        LedgerRefused: They are missing, or are not those that were recorded.
    """
    row = connection.execute(sa.select(bodies.c.data, bodies.c.n_bytes).where(bodies.c.digest == digest)).one_or_none()
    return _unpack(digest, row)


def count_lost_payloads(connection: sa.Connection, release_id: str) -> int:
    """The rows of a release whose bytes are missing, or were purged."""
    joined = release_rows.outerjoin(bodies, bodies.c.digest == release_rows.c.payload)
    query = sa.select(sa.func.count()).select_from(joined).where(release_rows.c.release_id == release_id)
    is_lost = sa.func.coalesce(sa.func.length(bodies.c.data), 0) == 0
    return connection.execute(query.where(is_lost)).scalar_one()


def _unpack(digest: str, row: sa.Row[Any] | None) -> bytes | None:
    if row is not None and not row.data:
        return None
    try:
        data = b"" if row is None else zstandard.ZstdDecompressor().decompress(row.data, max_output_size=row.n_bytes)
    except zstandard.ZstdError:
        data = b""
    if row is None or digest_bytes(data) != digest:
        raise LedgerRefused(
            f"Body {digest[:12]} is missing or altered in the ledger. Restore the ledger from a backup."
        )
    return data


def _purged(digest: str) -> LedgerRefused:
    return LedgerRefused(
        f"Body {digest[:12]} was dropped by `overnight purge`; its digest alone is left, and nothing can be made of"
        " it any more."
    )


_FIND_BODIES = Among(sa.select(bodies.c.digest, bodies.c.data, bodies.c.n_bytes), bodies.c.digest)
