"""What a night has come to need beside a purge, since it was found out what may be dropped."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from overnight.ledger.pinned import PinnedBatch, find_active, list_pinned, list_releases_of
from overnight.place import PartsPlace
from overnight.purge.files import AnyPath, OldFile, is_needed
from overnight.purge.findings import Findings
from overnight.purge.pinned import find_keys, find_paths


class Spared:
    """
    What is not dropped any more; it only grows.

    All of it is subtracted, and nothing is found out anew: a night that pins a batch every second is no hindrance.

    Args:
        found: What was to be dropped.
        home: Where pages are.
        place: Where parts are.
    """

    def __init__(self, found: Findings, home: Path, place: PartsPlace) -> None:
        self._found = found
        self._home = home
        self._place = place
        self._seen: set[PinnedBatch] = set()
        self._paths: set[AnyPath] = set()
        self.runs: set[str] = set()
        self.releases: set[str] = set()
        #: Of requests.
        self.keys: set[str] = set()
        #: Digests of parts.
        self.parts: set[str] = set()

    def catch_up(self, connection: sa.Connection) -> None:
        """Take in what was begun, pinned and offered; of parts only those that were not read yet."""
        found = self._found
        self.runs |= found.active | find_active(connection, after_pass=found.last_pass, since=found.since)
        self.releases |= list_releases_of(connection, self.runs)
        anew = {batch for run_id in sorted(self.runs) for batch in list_pinned(connection, run_id)} - self._seen
        paths = find_paths(anew, self._home, self._place)
        self.keys |= find_keys(anew, self._place)
        self._paths |= paths
        self.parts |= {path.stem for path in paths}
        self._seen |= anew

    def needs(self, file: OldFile) -> bool:
        """Whether a run has come to use it."""
        return is_needed(file.kind, file.path, used=self._paths, runs=self.runs)
