"""Draws: what reviewers are shown of a release, and which of it are seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.keys import canonical_json, digest_bytes, digest_parts
from overnight.ledger.prepared import insert
from overnight.ledger.release_schema import drawn_items, draws
from overnight.records import ReviewItem

SEED = "seed"


@dataclass(frozen=True)
class DrawnItem:
    """What an item of a draw is; no reviewer is told."""

    item: int
    #: "random" (feeds the bound), "risk", "again" (somebody else read it before) or "seed".
    stratum: str
    #: The row that is shown, or that the seed was made of.
    position: int
    #: Why it was picked, or how the seed was made.
    note: str | None = None


@dataclass(frozen=True)
class Draw:
    """What is shown from a round on, until the next draw."""

    round: int
    items: tuple[ReviewItem, ...]
    drawn: Mapping[int, DrawnItem]

    @property
    def n_seeds(self) -> int:
        """How many of the items are seeds."""
        return sum(d.stratum == SEED for d in self.drawn.values())


def record_draw(connection: sa.Connection, release_id: str, draw: Draw, now: float) -> None:
    """Keep a draw with what its items are; the first one of a round stays, whole."""
    shown = [asdict(item) for item in draw.items]
    place = {"release_id": release_id, "round": draw.round}
    row = place | {
        "items": orjson.dumps(shown).decode(),
        "evidence_digest": digest_bytes(canonical_json(shown)),
        "drawn_at": now,
    }
    if connection.execute(insert(draws).on_conflict_do_nothing(), row).rowcount == 1:
        connection.execute(sa.insert(drawn_items), [asdict(d) | place for d in draw.drawn.values()])


def find_draw(connection: sa.Connection, release_id: str, round_n: int | None = None) -> Draw | None:
    """The draw of this round, or the newest one."""
    c = draws.c
    query = sa.select(c.round, c["items"]).where(c.release_id == release_id)
    query = query.where(c.round == round_n) if round_n is not None else query.order_by(c.round.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    items = tuple(ReviewItem(**item) for item in orjson.loads(row[1]))
    return Draw(row.round, items, find_drawn(connection, release_id, row.round))


def find_drawn(connection: sa.Connection, release_id: str, round_n: int) -> dict[int, DrawnItem]:
    """What the items of a draw are, by their numbers."""
    c = drawn_items.c
    query = sa.select(c.item, c.stratum, c.position, c.note).where(c.release_id == release_id, c.round == round_n)
    return {row.item: DrawnItem(*row) for row in connection.execute(query.order_by(c.item))}


def find_shown(connection: sa.Connection, release_id: str) -> set[int]:
    """The positions of which anything was shown in any draw, as a row or as a seed."""
    c = drawn_items.c
    return set(connection.execute(sa.select(c.position).where(c.release_id == release_id)).scalars())


def find_evidence(connection: sa.Connection, release_id: str, round_n: int) -> str | None:
    """The digest of what reviewers were shown up to a round, made anew from what is recorded; None: nothing."""
    c = draws.c
    query = sa.select(c["items"]).where(c.release_id == release_id, c.round <= round_n).order_by(c.round)
    digests = [_digest(items) for items in connection.execute(query).scalars()]
    if len(digests) > 1:
        return digest_parts("evidence", digests)
    return digests[0] if digests else None


def _digest(items: Any) -> str:
    return digest_bytes(canonical_json(orjson.loads(items)))
