"""A review, on the page or in the terminal, from its first round to the decision that ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overnight.approve import Answers, Decision, parse_answers
from overnight.approve.outlook import Outlook
from overnight.approve.verdicts import write_verdict
from overnight.failures import ReviewRefused
from overnight.masking import NOTHING_HIDDEN, Veil
from overnight.page.desk import Desk
from overnight.page.reading import ReaderRound
from overnight.records import Approval, Release, RunState

_BLANK = {"decision": "", "reviewer": "", "reason": ""}


class Review:
    """
    The round that is read, and what was decided on it.

    Args:
        release: With the items of its open round.
        desk: Who takes the answers.
        find_outlook: What the open round of a release would come to.
        find_standing: What was decided on a release, here or elsewhere.
        schema: Of the answers that are read.
        home: Where drafts are.
        channel: Where it is read: "page" or "terminal".
        reviewer: Whose name the form of the decision holds at first.
        clock: Seconds that only grow.
        get_veil: What hides the private values of an item of a release.
    """

    def __init__(
        self,
        release: Release,
        desk: Desk,
        *,
        find_outlook: Callable[[Release], Outlook],
        find_standing: Callable[[Release], Approval | RunState | None],
        schema: Mapping[str, Any],
        home: Path,
        channel: str = "page",
        reviewer: str = "",
        clock: Callable[[], float] = time.monotonic,
        get_veil: Callable[[Release, int], Veil] = lambda *_: NOTHING_HIDDEN,
    ) -> None:
        self.schema = schema
        self._desk = desk
        self._find_outlook = find_outlook
        self._find_standing = find_standing
        self._get_veil = get_veil
        self._home = home
        self.channel = channel
        self._clock = clock
        self.reading = self._read(release)
        #: What came of the round's answers.
        self.decision: Decision | None = None
        #: What was typed into the form of the decision; never the code.
        self.typed = _BLANK | {"reviewer": reviewer}

    @property
    def release(self) -> Release:
        """As it is shown."""
        return self.reading.release

    @property
    def may_hold_unread(self) -> bool:
        """Whether what nobody has read can be held without reading on: rounds before this one may do."""
        return self.release.round > 0

    def find_veil(self, number: int) -> Veil:
        """What hides the private values of an item."""
        return self._get_veil(self.release, number) if self.release.private else NOTHING_HIDDEN

    def demands_code(self) -> bool:
        """Whether a one-time code is asked for."""
        return self._desk.demands_code(self.release)

    def find_elsewhere(self) -> Approval | RunState | None:
        """What was decided on the run meanwhile, and not here: the verdicts of this round are not counted then."""
        return None if self.decision and self.decision.is_final else self._find_standing(self.release)

    def decide(self, typed: Mapping[str, str]) -> Decision:
        """
        Hand the round's answers in.

        Args:
            typed: The form's fields: decision, reviewer, code, reason.

        Raises:
            OvernightError: They are not taken; the verdicts stay as they are.
        """
        self.typed = {name: typed.get(name, "") for name in _BLANK}
        decision = self._desk.decide(self.release, self._write_answers(typed.get("code", "")), channel=self.channel)
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
        is_other = self.decision is not None and self.decision.is_for_others
        self.typed = _BLANK | ({} if is_other else {"reviewer": self.typed["reviewer"]})
        self.decision = None

    def _read(self, release: Release) -> ReaderRound:
        return ReaderRound(release, self._find_outlook(release), self._home, clock=self._clock)

    def _write_answers(self, code: str) -> Answers:
        if not self.typed["decision"]:
            raise ReviewRefused("Nothing is decided yet. Choose whether to release, hold or reject.")
        if not self.typed["reviewer"].strip():
            raise ReviewRefused("A decision has a name under it. Give yours: it is kept with the verdicts.")
        verdicts = {n: write_verdict(v) for n, v in self.reading.verdicts.items()}
        if self.reading.open and self._needs_none():
            verdicts = {}
        given = {"items": verdicts, "seconds": self.reading.seconds}
        shown = {"release": self.release.release_id, "round": self.release.round}
        return parse_answers({**self.typed, **given, **shown}, code=code.strip())

    def _needs_none(self) -> bool:
        """Who has seen enough need not read the rest; verdicts are taken whole or not at all."""
        decision = self.typed["decision"]
        return decision == "reject" or (decision == "hold" and self.may_hold_unread)
