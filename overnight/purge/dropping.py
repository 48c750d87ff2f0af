"""Dropping what was found, a batch a transaction, but for what runs have come to need meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.ledger import Ledger, purged_texts, purges
from overnight.ledger.inbox import purge_settled
from overnight.ledger.pinned import find_bodies_of
from overnight.place import PartsPlace
from overnight.purge.files import OldFile, delete_files, list_digests
from overnight.purge.findings import Findings
from overnight.purge.spared import Spared

#: Of a transaction: others wait as long as it takes.
_N_REQUESTS, _N_BODIES, _N_RELEASES, _N_RUNS, _N_PARTS = 2000, 5000, 20, 200, 500

#: Drops some of a kind; those that it dropped.
_Drop = Callable[[sa.Connection, Sequence[str]], Collection[str]]


def drop(found: Findings, ledger: Ledger, home: Path, place: PartsPlace, *, before: float, now: float) -> Findings:
    """
    Drop it, beside a night that goes on; what of it was dropped.

    Args:
        found: What nothing needed when it was found out.
        ledger: Where.
        home: Where pages are.
        place: Where parts are.
        before: Seconds since the epoch.
        now: The same.
    """
    dropping = _Dropping(found, ledger, Spared(found, home, place), before=before, now=now)
    requests = dropping.drop(dropping.drop_requests, found.requests, _N_REQUESTS)
    releases = dropping.drop(dropping.drop_releases, found.releases, _N_RELEASES)
    others = dropping.drop(dropping.drop_runs, found.kept.others, _N_RUNS)
    dropping.drop(dropping.drop_manifests, sorted(list_digests(found.files)), _N_PARTS)
    dropping.drop(dropping.drop_replays, ("all",), 1)
    inbox = dropping.drop(dropping.drop_inbox, found.inbox, _N_REQUESTS)
    digests = dropping.drop(dropping.drop_bodies, tuple(found.bodies), _N_BODIES)
    return replace(
        found,
        requests=requests,
        releases=releases,
        kept=replace(found.kept, others=others),
        bodies={digest: found.bodies[digest] for digest in digests},
        files=dropping.delete_files(),
        inbox=inbox,
    )


class _Dropping:
    """One purge of what was found."""

    def __init__(self, found: Findings, ledger: Ledger, spared: Spared, *, before: float, now: float) -> None:
        self._found = found
        self._ledger = ledger
        self._before = before
        self._now = now
        self._spared = spared
        #: Digests of what was sent and answered in requests that were not dropped.
        self._bodies: set[str] = set()

    def drop(self, run: _Drop, what: Sequence[str], size: int) -> tuple[str, ...]:
        """Drop what is of one kind, in batches of this size; what was dropped."""
        done: list[str] = []
        for start in range(0, len(what), size):
            self._catch_up()
            done += self._ledger.write(partial(self._drop_batch, run=run, some=what[start : start + size]))
            reach("after-purged")
        return tuple(done)

    def _catch_up(self) -> None:
        """Beforehand and without a lock: what is left to catch up with in a batch's own transaction is little."""
        with self._ledger.reading() as connection:
            self._spared.catch_up(connection)

    def _drop_batch(self, connection: sa.Connection, *, run: _Drop, some: Sequence[str]) -> Collection[str]:
        purges.begin_batch(connection)
        self._spared.catch_up(connection)
        return run(connection, some)

    def drop_requests(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        """Of what is not dropped, the bodies stay too."""
        old = [key for key in some if key not in self._spared.keys]
        dropped = purges.purge_requests(connection, old, before=self._before, now=self._now)
        self._bodies |= find_bodies_of(connection, set(some) - dropped)
        return dropped

    def drop_releases(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        old = [release_id for release_id in some if release_id not in self._spared.releases]
        purged_texts.purge_releases(connection, old)
        return old

    def drop_runs(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        old = [run_id for run_id in some if run_id not in self._spared.runs]
        purged_texts.purge_runs(connection, old)
        return old

    def drop_manifests(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        old = [digest for digest in some if digest not in self._spared.parts]
        purged_texts.purge_manifests(connection, old)
        return old

    def drop_replays(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        purged_texts.purge_replays(connection, self._before)
        return some

    def drop_inbox(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        return purge_settled(connection, some, before=self._before, now=self._now)

    def drop_bodies(self, connection: sa.Connection, some: Sequence[str]) -> Collection[str]:
        old = [digest for digest in some if digest not in self._bodies]
        return purges.purge_bodies(connection, old, active=sorted(self._spared.runs), since=self._found.since)

    def delete_files(self) -> tuple[OldFile, ...]:
        """Delete the files that nobody has come to use."""
        self._catch_up()
        files = tuple(file for file in self._found.files if not self._spared.needs(file))
        delete_files(files)
        return files
