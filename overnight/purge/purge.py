"""A purge: found out, dropped batch by batch beside a running night, and the files written anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from overnight.ledger import Ledger
from overnight.ledger.purges import TABLES, close_purge, open_purge
from overnight.place import PartsPlace
from overnight.purge.dropping import drop
from overnight.purge.findings import Findings, find_purgeable

#: Where machines share the parts and not their homes.
_ELSEWHERE = (
    "Pages of Data Docs, drafts, reports, results of tasks and parts of before OVERNIGHT_PARTS_URL are in each"
    " machine's home folder: run the same purge on the others too."
)


@dataclass(frozen=True)
class Purged:
    """What was dropped, or would be."""

    before: float
    is_dry: bool
    #: By kind: runs, requests, bodies, releases, replays, parts, copies, pages, drafts, reports, results, backups; and
    #: bytes.
    counts: Mapping[str, int]
    #: Runs that were left whole, by why.
    kept: Mapping[str, int]
    #: When the oldest run that was left whole began; None: there is none.
    whole_since: float | None
    #: What could not be done, in words.
    left: tuple[str, ...] = ()


def purge(
    ledger: Ledger,
    home: Path,
    place: PartsPlace,
    *,
    before: float,
    by: str,
    is_dry: bool = False,
    clock: Callable[[], float] = time.time,
) -> Purged:
    """
    Drop texts and bytes of runs that are older, and of nothing that a young, open or unfinished run needs.

    A night may go on meanwhile; a purge that was broken off is finished by the next one.

    Args:
        ledger: Whose texts.
        home: Where pages, drafts and reports are: those of this machine, with parts of before a move.
        place: Where parts are.
        before: Seconds since the epoch: what is younger stays.
        by: Who does it; it is kept.
        is_dry: Only find out what would be dropped.
        clock: Seconds since the epoch.
    """
    elsewhere = () if place == home else (_ELSEWHERE,)
    found = find_purgeable(ledger, home, place, before=before, now=clock())
    if is_dry:
        return _sum_up(found, before, is_dry=True, left=elsewhere)
    purge_id = ledger.write(lambda connection: open_purge(connection, before, by, clock()))
    done = drop(found, ledger, home, place, before=before, now=clock())
    left = ledger.compact(TABLES)
    ledger.write(lambda connection: close_purge(connection, purge_id, done.count()))
    return _sum_up(done, before, left=(*left, *elsewhere))


def _sum_up(found: Findings, before: float, *, is_dry: bool = False, left: tuple[str, ...] = ()) -> Purged:
    reasons = list(found.kept.runs.values())
    counts = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return Purged(before, is_dry, found.count(), counts, found.kept.whole_since, left)
