"""Which row holds an id: exact over a stream of any length, in flat memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class SeenIds:
    """Ids with the number of their first row, in a database that SQLite itself deletes when it is closed."""

    def __init__(self) -> None:
        # "" is a private temporary file, which spills to disk past the cache and cannot be left behind.
        # One reader at a time uses it, but a generator may be taken on by another thread.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA cache_size = -16000")  # KiB
        self._db.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()

    def claim(self, row_id: str, number: int) -> int | None:
        """Give the id to this row: None, or the number of the row that has it already."""
        cursor = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (row_id, number))
        if cursor.rowcount == 1:
            return None
        first: int = self._db.execute("SELECT number FROM seen WHERE id = ?", (row_id,)).fetchone()[0]
        return first

    def claim_all(self, claims: Sequence[tuple[str, int]]) -> bool:
        """Give each id to the row of this number, several at once; none of them, and False, where one is taken."""
        given = self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", claims).rowcount
        if given < len(claims):
            self._db.executemany("DELETE FROM seen WHERE id = ? AND number = ?", claims)
        return given == len(claims)

    def claim_spare(self, number: int) -> str:
        """Name a row that has no id of its own: "row-7", and never a name that another row bears."""
        name = f"row-{number}"
        while self.claim(name, number) is not None:
            name += "_"
        return name
