"""Draws: what reviewers are shown of a release, and which of it are seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import orjson
import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import canonical_json, digest_bytes, digest_parts
from overnight.ledger.prepared import insert
from overnight.ledger.release_schema import releases
from overnight.ledger.review_schema import drawn_items, draws
from overnight.ledger.schema import prompts, run_prompts
from overnight.masking import NOTHING_HIDDEN, Veil, read_private
from overnight.records import Release, ReviewItem

SEED = "seed"
#: What stands in place of items that were purged.
PURGED = ""
_BEFORE = "before"


@dataclass(frozen=True)
class DrawnItem:
    """What an item of a draw is; no reviewer is told."""

    item: int
    #: "random" (feeds the bound), "risk", "again" (somebody else read it before) or "seed"; "before": an earlier
    #: version of overnight showed it.
    stratum: str
    #: The row that is shown, or that the seed was made of.
    position: int
    #: Why it was picked, or how the seed was made.
    note: str | None = None


@dataclass(frozen=True)
class Draw:
    """What is shown from a round on, until the next draw."""

    round: int
    #: Whole; empty where they were purged.
    items: tuple[ReviewItem, ...]
    drawn: Mapping[int, DrawnItem]
    #: What the prompt declares private.
    private: tuple[str, ...] = ()

    @cached_property
    def shown(self) -> tuple[ReviewItem, ...]:
        """The items as reviewers see them."""
        return tuple(self._veil(item) for item in self.items) if self.private else self.items

    def get_veil(self, number: int) -> Veil:
        """What hides the private values of an item, and puts them back into what was typed."""
        item = next(item for item in self.items if item.item == number)
        return Veil(self.private, item.input, item.output)

    def _veil(self, item: ReviewItem) -> ReviewItem:
        veil = self.get_veil(item.item)
        return ReviewItem(item.item, item.row_id, veil.hide_input(item.input), veil.hide_output(item.output))

    @property
    def n_seeds(self) -> int:
        """How many of the items are seeds."""
        return sum(d.stratum == SEED for d in self.drawn.values())

    @property
    def is_without_seeds(self) -> bool:
        """Whether an earlier version drew it, which knew of none."""
        return any(d.stratum == _BEFORE for d in self.drawn.values())


def record_draw(connection: sa.Connection, release_id: str, draw: Draw, now: float) -> None:
    """Keep a draw with what its items are; the first one of a round stays, whole."""
    place = {"release_id": release_id, "round": draw.round}
    items = orjson.dumps([asdict(item) for item in draw.items]).decode()
    row = place | {"items": items, "evidence_digest": _digest(items, draw.drawn), "drawn_at": now}
    # Without the option a driver for Postgres does not say.
    statement = insert(draws).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    if connection.execute(statement, row).rowcount == 1:
        connection.execute(sa.insert(drawn_items), [asdict(d) | place for d in draw.drawn.values()])


def find_draw(connection: sa.Connection, release_id: str, round_n: int | None = None) -> Draw | None:
    """
    The draw of this round, or the newest one.

    Raises:
        LedgerRefused: It is not as it was recorded.
    """
    c = draws.c
    query = sa.select(c.round, c["items"], c.evidence_digest).where(c.release_id == release_id)
    query = query.where(c.round == round_n) if round_n is not None else query.order_by(c.round.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    drawn = find_drawn(connection, release_id, row.round)
    if row[1] == PURGED:
        return Draw(row.round, (), drawn)
    if _digest(row[1], drawn) != row.evidence_digest:
        raise _altered(release_id)
    return Draw(row.round, _read_items(release_id, row[1]), drawn, find_private(connection, release_id))


def find_private(connection: sa.Connection, release_id: str) -> tuple[str, ...]:
    """What the prompt of a release's rows declares private, and those that were asked before it."""
    own = sa.select(prompts.c.text).join(releases, releases.c.prompt_hash == prompts.c.prompt_hash)
    pinned = sa.select(run_prompts.c.text).join(releases, releases.c.run_id == run_prompts.c.run_id)
    texts = sa.union(*(query.where(releases.c.release_id == release_id) for query in (own, pinned)))
    return tuple(sorted({name for text in connection.execute(texts).scalars() for name in read_private(text)}))


def get_veil(connection: sa.Connection, release: Release, number: int) -> Veil:
    """What hides the private values of an item that a release shows; nothing, where another draw is shown by now."""
    draw = find_draw(connection, release.release_id)
    return draw.get_veil(number) if draw and draw.shown == release.items else NOTHING_HIDDEN


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
    """
    The digest of what reviewers were shown up to a round, and of what was what of it, made anew; None: nothing.

    Raises:
        LedgerRefused: A record of it is unreadable.
    """
    c = draws.c
    query = sa.select(c.round, c["items"], c.evidence_digest).where(c.release_id == release_id, c.round <= round_n)
    digests = [
        # Of what was purged its digest is left, which the approval's signature covers.
        row.evidence_digest if row[1] == PURGED else _digest(row[1], find_drawn(connection, release_id, row.round))
        for row in connection.execute(query.order_by(c.round)).all()
    ]
    if len(digests) > 1:
        return digest_parts("evidence", digests)
    return digests[0] if digests else None


def _digest(items: str, drawn: Mapping[int, DrawnItem]) -> str:
    # What earlier versions showed had no seeds, and a digest of the items alone.
    if all(d.stratum == _BEFORE for d in drawn.values()):
        return digest_bytes(canonical_json([asdict(item) for item in _read_items("", items)]))
    return digest_parts("draw", [items, canonical_json([asdict(drawn[n]) for n in sorted(drawn)])])


def _read_items(release_id: str, items: str) -> tuple[ReviewItem, ...]:
    try:
        return tuple(ReviewItem(**item) for item in orjson.loads(items))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise _altered(release_id) from error


def _altered(release_id: str) -> LedgerRefused:
    return LedgerRefused(
        f"What reviewers were shown of release {release_id} was altered in the ledger. Restore it from a backup."
    )
