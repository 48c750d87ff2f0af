"""The inbox as a delivery may write to it: the requests of the run whose release is approved, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.ledger.inbox_answers import Noted, answer, is_asked, withdraw
from overnight.records import Approval, Payload

_Write = Callable[[sa.Connection, str, str, Sequence[Payload], float], list[Noted]]


@dataclass(frozen=True)
class InboxPlace:
    """Where the requests are that a run answers."""

    ledger: Ledger
    approval: Approval

    @property
    def _prompt(self) -> str:
        return self.approval.sink.partition(":")[2]

    def is_asked(self) -> bool:
        """Whether the run has taken any of them."""
        return self.ledger.read(lambda connection: is_asked(connection, self.approval.run_id, self._prompt))

    def answer(self, payloads: Sequence[Payload]) -> list[tuple[bool, str]]:
        """Give each row's request its answer."""
        return self._write(answer, payloads)

    def withdraw(self, payloads: Sequence[Payload]) -> list[tuple[bool, str]]:
        """Take the answers back."""
        return self._write(withdraw, payloads)

    def _write(self, work: _Write, payloads: Sequence[Payload]) -> list[tuple[bool, str]]:
        run_id, now = self.approval.run_id, time.time()
        noted = self.ledger.write(lambda connection: work(connection, run_id, self._prompt, payloads, now))
        return [(one.is_done, one.detail) for one in noted]
