"""Several processes over the same rows, and what they come to together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.conftest import House
from tests.trials.books import check_books, digest_ledger
from tests.trials.scripts import Script
from tests.trials.shared_worker import Ended, Orders, Process, Sharers


@dataclass(frozen=True)
class Crowd:
    """Where they work, whom they ask, and who makes them."""

    house: House
    script: Script
    sharers: Sharers
    endpoint: str

    def start(self, n_rows: int, **how: Any) -> Process:
        """One more that begins with these rows."""
        where = (str(self.house.home), self.house.settings.ledger_url, self.endpoint, n_rows)
        return self.sharers.start(Orders(*where, **how))

    def finish(self, n_rows: int, processes: Sequence[Process]) -> list[Ended]:
        """Each has all rows accepted, with the answers that the ledger has; and the books are in order."""
        ended = [process.wait(500) for process in processes]
        assert [(e.states, e.why) for e in ended] == [((n_rows, 0, 0), "")] * len(ended)
        assert {e.answers for e in ended} == {digest_ledger(self.house)}
        check_books(self.house, n_rows)
        return ended

    def check_asked_once(self, n_rows: int) -> None:
        """As many calls as rows, all distinct."""
        assert len(self.script.given) == len({given.row for given in self.script.given}) == n_rows
