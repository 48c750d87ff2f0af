"""The high-water file: how far a ledger in a file had come, so that one which went backwards is not taken for it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from overnight.failpoints import reach
from overnight.failures import LedgerRefused

#: The file is written at most this often: what it misses is what may go backwards unseen.
EVERY_S = 1.0


class HighWater:
    """
    The number of commits that the ledger is known to have had, kept beside it.

    A lost `-wal` file or a restored copy leaves a database that is whole and knows less: every answer since then would
    be paid for again.
    """

    def __init__(self, ledger: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._path = ledger.with_name(ledger.name + ".highwater")
        self._clock = clock
        self._written_at = float("-inf")

    def read(self) -> int:
        """
        The mark; 0 where there is no file.

        Raises:
            LedgerRefused: The file cannot be read.
        """
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise LedgerRefused(
                f"The high-water file {self._path} cannot be read ({error}). Delete it where the ledger is whole."
            ) from error

    def check(self, mark: int, n_commits: int) -> None:
        """
        Compare a mark that was read before the ledger was with what the ledger says.

        Raises:
            LedgerRefused: It went backwards.
        """
        if n_commits < mark:
            raise LedgerRefused(
                f"The ledger {self._ledger} has {n_commits} commits and had {mark}: it went backwards, as after a lost"
                f" -wal file or a restored copy, and answers since then would be paid for again. Restore the newest"
                f" copy, or delete {self._path.name} to go on from here."
            )

    def raise_to(self, n_commits: int, *, now: bool = False) -> None:
        """Write the mark, unless it was written just now; on a full disk an older one stays, which is true too."""
        if not now and self._clock() - self._written_at < EVERY_S:
            return
        self._written_at = self._clock()
        with contextlib.suppress(OSError, LedgerRefused):
            # Another process may have seen more of it.
            if self.read() < n_commits:
                self._write(n_commits)

    def _write(self, n_commits: int) -> None:
        fd, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".highwater-")
        try:
            with os.fdopen(fd, "w") as file:
                file.write(f"{n_commits}\n")
                file.flush()
                os.fsync(file.fileno())
            reach("before-high-water")
            Path(temporary).replace(self._path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
