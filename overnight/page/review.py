"""A review on the page, from its first round to the decision that ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overnight.approve import Answers, Decision, parse_answers
from overnight.approve.answers import write_verdict
from overnight.approve.outlook import Outlook
from overnight.failures import ReviewRefused
from overnight.page.desk import Desk
from overnight.page.reading import ReaderRound
from overnight.records import Release

_BLANK = {"decision": "", "reviewer": "", "reason": ""}


class Review:
    """
    The round that is read, and what was decided on it.

    Args:
        release: With the items of its open round.
        desk: Who takes the answers.
        find_outlook: What the open round of a release would come to.
        schema: Of the answers that are read.
        home: Where drafts are.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        release: Release,
        desk: Desk,
        *,
        find_outlook: Callable[[Release], Outlook],
        schema: Mapping[str, Any],
        home: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.schema = schema
        self._desk = desk
        self._find_outlook = find_outlook
        self._home = home
        self._clock = clock
        self.reading = self._read(release)
        #: What came of the round's answers.
        self.decision: Decision | None = None
        #: What was typed into the form of the decision; never the code.
        self.typed = dict(_BLANK)

    @property
    def release(self) -> Release:
        """As it is shown."""
        return self.reading.release

    def demands_code(self) -> bool:
        """Whether a one-time code is asked for."""
        return self._desk.demands_code(self.release)

    def decide(self, typed: Mapping[str, str]) -> Decision:
        """
        Hand the round's answers in.

        Args:
            typed: The form's fields: decision, reviewer, code, reason.

        Raises:
            OvernightError: They are not taken; the verdicts stay as they are.
        """
        self.typed = {name: typed.get(name, "") for name in _BLANK}
        decision = self._desk.decide(self.release, self._write_answers(typed.get("code", "")), channel="page")
        self.reading.close()
        self.decision = decision
        return decision

    def begin_next(self) -> None:
        """
        Open the round that the decision asked for.

        Raises:
            OvernightError: It cannot be drawn.
        """
        self.reading = self._read(self._desk.open_round(self.release))
        self.decision, self.typed = None, dict(_BLANK)

    def _read(self, release: Release) -> ReaderRound:
        return ReaderRound(release, self._find_outlook(release), self._home, clock=self._clock)

    def _write_answers(self, code: str) -> Answers:
        if not self.typed["decision"]:
            raise ReviewRefused("Nothing is decided yet. Choose whether to release, hold or reject.")
        if not self.typed["reviewer"].strip():
            raise ReviewRefused("A decision has a name under it. Give yours: it is kept with the verdicts.")
        verdicts = {n: write_verdict(v) for n, v in self.reading.verdicts.items()}
        # Who has seen enough to reject need not read the rest; verdicts are taken whole or not at all.
        if self.typed["decision"] == "reject" and self.reading.open:
            verdicts = {}
        given = {"items": verdicts, "seconds": self.reading.seconds}
        shown = {"release": self.release.release_id, "round": self.release.round}
        return parse_answers({**self.typed, **given, **shown}, code=code.strip())
