"""A purge: found out, dropped batch by batch beside a running night, and the files written anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.ledger import Ledger, purged_texts
from overnight.ledger import purges as drops
from overnight.ledger.kept import find_active
from overnight.purge.files import delete_files, list_digests
from overnight.purge.findings import Findings, find_purgeable

#: Of a transaction: others wait as long as it takes.
_N_REQUESTS, _N_BODIES, _N_RELEASES, _N_RUNS, _N_PARTS = 2000, 5000, 20, 200, 500
#: A clock of another machine may be off by this, in seconds.
_SLACK_S = 300.0


@dataclass(frozen=True)
class Purged:
    """What was dropped, or would be."""

    before: float
    is_dry: bool
    #: By kind: runs, requests, bodies, releases, replays, parts, pages, drafts, reports, results, backups; and bytes.
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
        home: Where parts, pages, drafts and reports are.
        before: Seconds since the epoch: what is younger stays.
        by: Who does it; it is kept.
        is_dry: Only find out what would be dropped.
        clock: Seconds since the epoch.
    """
    first = found = find_purgeable(ledger, home, before=before, now=clock())
    if is_dry:
        return _sum_up(first, before, is_dry=True)
    purge_id = ledger.write(lambda connection: drops.open_purge(connection, before, by, clock()))
    while not _drop(found, ledger, before=before, now=clock()):
        found = find_purgeable(ledger, home, before=before, now=clock())
    delete_files(found.files)
    left = ledger.compact(drops.TABLES)
    ledger.write(lambda connection: drops.close_purge(connection, purge_id, first.count()))
    return _sum_up(first, before, left=left)


def _drop(found: Findings, ledger: Ledger, *, before: float, now: float) -> bool:
    """Whether all of it was dropped: False where something began meanwhile that may need a part of it."""
    others, bodies = found.kept.others, tuple(found.bodies)
    dropping: list[tuple[Callable[[sa.Connection, Sequence[str]], None], Sequence[str], int]] = [
        (partial(drops.purge_requests, before=before, now=now), found.requests, _N_REQUESTS),
        (purged_texts.purge_releases, found.releases, _N_RELEASES),
        (purged_texts.purge_runs, others, _N_RUNS),
        (purged_texts.purge_manifests, sorted(list_digests(found.files)), _N_PARTS),
        (lambda connection, _: purged_texts.purge_replays(connection, before), ("all",), 1),
        (partial(_purge_bodies, found=found), bodies, _N_BODIES),
    ]
    try:
        for drop, what, size in dropping:
            for start in range(0, len(what), size):
                ledger.write(partial(_drop_batch, drop=drop, some=what[start : start + size], mark=found.mark))
                reach("after-purged")
    except drops.Overtaken:
        return False
    return True


def _drop_batch(
    connection: sa.Connection,
    *,
    drop: Callable[[sa.Connection, Sequence[str]], None],
    some: Sequence[str],
    mark: tuple[int, ...],
) -> None:
    drops.begin_batch(connection, mark)
    drop(connection, some)


def _purge_bodies(connection: sa.Connection, digests: Sequence[str], *, found: Findings) -> None:
    since = found.found_at - _SLACK_S
    drops.purge_bodies(connection, digests, active=find_active(connection, since), since=since)


def _sum_up(found: Findings, before: float, *, is_dry: bool = False, left: tuple[str, ...] = ()) -> Purged:
    reasons = list(found.kept.runs.values())
    counts = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return Purged(before, is_dry, found.count(), counts, found.kept.whole_since, left)
