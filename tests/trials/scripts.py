"""What a provider does to whom, and its own record of what it did."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.provider import Scripted

GOOD = Scripted(delay_s=0.005)

_ROW = re.compile(r"\b(r\d+)</query>")


@dataclass(frozen=True)
class Given:
    """One call, and what it was answered."""

    row: str
    scripted: Scripted
    time: float

    @property
    def is_good(self) -> bool:
        """Whether it was answered whole and in time: what a provider sends an invoice for."""
        return self.scripted.status == GOOD.status and not self.scripted.drop and self.scripted.delay_s <= GOOD.delay_s

    @property
    def call_id(self) -> str:
        return self.scripted.headers["request-id"]


class Script:
    """
    An `answer` for the fake provider that keeps what it gave.

    Args:
        decide: The number of the call, from 0, and the row's id → the answer.
    """

    def __init__(self, decide: Callable[[int, str], Scripted] = lambda *_: GOOD) -> None:
        self.decide = decide
        self.given: list[Given] = []
        #: So many calls, from the first, are answered only when this is set.
        self.n_held, self.lets_go = 0, threading.Event()

    def __call__(self, body: dict[str, Any]) -> Scripted | Awaitable[Scripted]:
        n, row = len(self.given), find_row(body)
        scripted = self.decide(n, row)
        # The ledger keeps the provider's id of each call: the two records can be laid side by side.
        scripted = replace(scripted, headers={**scripted.headers, "request-id": f"call-{n}"})
        self.given.append(Given(row, scripted, time.time()))
        return self._hold(scripted) if n < self.n_held else scripted

    async def _hold(self, scripted: Scripted) -> Scripted:
        await asyncio.to_thread(self.lets_go.wait, 60)
        return scripted

    @property
    def good(self) -> list[Given]:
        return [given for given in self.given if given.is_good]

    def count_good(self) -> Counter[str]:
        """How often each row was answered whole."""
        return Counter(given.row for given in self.good)

    def times_of(self, row: str) -> list[float]:
        """When a row was asked."""
        return [given.time for given in self.given if given.row == row]


def find_row(body: dict[str, Any]) -> str:
    """The id of the row that is asked."""
    user = next(m["content"] for m in body["messages"] if m["role"] == "user")
    found = _ROW.search(user)
    return found[1] if found else ""


def make_storm(calls: range, *, hang_s: float, delay_s: float = GOOD.delay_s) -> Callable[[int, str], Scripted]:
    """
    A brown-out: of the calls in the range 30 % get a 429, 10 % a 500, 5 % hang and 5 % are cut off.

    Args:
        calls: Which of the provider's calls it takes.
        hang_s: Longer than anybody waits.
        delay_s: How long a good answer takes.
    """
    dice = random.Random(11)  # noqa: S311 - a storm is no secret
    faults = [
        Scripted(status=429, headers={"retry-after": "0"}),
        Scripted(status=429),
        Scripted(status=500),
        Scripted(delay_s=hang_s),
        Scripted(drop=True),
        Scripted(delay_s=delay_s),
    ]

    def decide(n: int, _: str) -> Scripted:
        return dice.choices(faults, [15, 15, 10, 5, 5, 50])[0] if n in calls else faults[-1]

    return decide
