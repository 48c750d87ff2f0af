"""One reader's round: the verdicts so far, undo, and the time that was spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overnight.approve.outlook import Outlook
from overnight.approve.reading import name_verdict
from overnight.approve.verdicts import Corrected, Verdict, Wrong, parse_verdict, write_verdict
from overnight.failures import ReviewRefused
from overnight.page.drafts import Draft
from overnight.records import Release, ReviewItem

#: Of one item: who was away longer did not read meanwhile.
MOST_S = 300.0
#: Of a reason; longer ones are refused with the answers.
MOST_CHARACTERS = 2000


class ReaderRound:
    """
    A round that is being read; every verdict is in its draft before the next item is shown.

    Args:
        release: With the items of the round.
        outlook: What the round would come to.
        home: Where drafts are.
        clock: Seconds that only grow.
    """

    def __init__(
        self, release: Release, outlook: Outlook, home: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.release = release
        self.outlook = outlook
        self.items: Mapping[int, ReviewItem] = {item.item: item for item in release.items}
        self._clock = clock
        self._draft = Draft(release, home)
        self._shown_at: dict[int, float] = {}
        #: In the order in which they were given.
        self.verdicts: dict[int, Verdict] = {}
        self._seconds: dict[int, float] = {}
        #: Why there is no draft, or none any more; None: all is well.
        self.fault: str | None = None
        try:
            self.verdicts, self._seconds = self._draft.load()
        except ReviewRefused as refusal:
            self.fault = str(refusal)
        #: Its verdicts are of an earlier sitting, and nobody knows whose.
        self.is_resumed = bool(self.verdicts)

    @property
    def open(self) -> list[int]:
        """The items without a verdict."""
        return [n for n in self.items if n not in self.verdicts]

    @property
    def seconds(self) -> float:
        """How long all of it was read."""
        return round(sum(self._seconds.values()), 1)

    @property
    def last(self) -> int | None:
        """The item whose verdict was given last."""
        return next(reversed(self.verdicts), None)

    def name(self, number: int) -> str | None:
        """The word of an item's verdict."""
        verdict = self.verdicts.get(number)
        return None if verdict is None else name_verdict(write_verdict(verdict))

    def list_flagged(self) -> list[int]:
        """The items that were not called correct."""
        return [n for n in self.items if n in self.verdicts and self.name(n) != "correct"]

    def find_next(self, number: int) -> int | None:
        """The next item without a verdict, after this one or from the front; None: all have one."""
        return next((n for n in self.open if n > number), next(iter(self.open), None))

    def show(self, number: int) -> None:
        """Note that an item is looked at from now on."""
        self._shown_at[number] = self._clock()

    def spend(self, number: int, measured_s: float | None) -> None:
        """
        Count the time that an item was looked at.

        Args:
            number: The item.
            measured_s: As the browser measured it; None: it is what has passed since the item was shown.
        """
        passed_s = self._clock() - self._shown_at.pop(number, self._clock())
        # What a browser says is taken as far as so much time has passed at all.
        spent_s = passed_s if measured_s is None else min(measured_s, passed_s)
        self._seconds[number] = min(MOST_S, self._seconds.get(number, 0.0) + max(0.0, spent_s))

    def give(self, number: int, verdict: Any) -> None:
        """
        Take a verdict on an item, in place of the one before.

        Raises:
            ReviewRefused: It is none that can be recorded; the one before stands.
        """
        read = _read_verdict(number, verdict)
        self.verdicts.pop(number, None)
        self.verdicts[number] = read
        self._save()

    def undo(self) -> int | None:
        """Take the verdict back that was given last: its item."""
        number = self.last
        if number is not None:
            del self.verdicts[number]
            self._save()
        return number

    def begin_anew(self) -> None:
        """Forget the verdicts of an earlier sitting: they may be somebody else's."""
        self.verdicts, self._seconds, self.is_resumed = {}, {}, False
        self._save()

    def close(self) -> None:
        """The answers were taken: there is nothing to go on with."""
        self._draft.remove()

    def _save(self) -> None:
        try:
            self._draft.save(self.verdicts, self._seconds)
            self.fault = None
        except ReviewRefused as refusal:
            self.fault = str(refusal)


def _read_verdict(number: int, verdict: Any) -> Verdict:
    reason = verdict.get("wrong", "-").strip() if isinstance(verdict, dict) else "-"
    if not reason:
        raise ReviewRefused("A row is wrong for a reason. Say what is wrong with it: a few words do.")
    if len(reason) > MOST_CHARACTERS:
        raise ReviewRefused(f"The reason has more than {MOST_CHARACTERS:,} characters. Shorten it.")
    return parse_verdict(number, verdict)


def write_value(verdict: Verdict | None) -> Any:
    """The reason of a "wrong", or the changed fields of a correction; None: the verdict has neither."""
    if isinstance(verdict, Wrong):
        return verdict.wrong
    return verdict.corrected if isinstance(verdict, Corrected) else None
