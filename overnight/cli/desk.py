"""Where answers are handed in, on the page or in the terminal: they are decided on, and a run that waits is woken."""

from __future__ import annotations

import time
from dataclasses import dataclass

from overnight.approve import Answers, Decision, decide, demands_code, open_round
from overnight.cli.resume import wake_run
from overnight.ledger import Ledger
from overnight.records import Release
from overnight.settings import Settings


@dataclass(frozen=True)
class Desk:
    """The reviews of one home."""

    settings: Settings
    ledger: Ledger

    def open_round(self, release: Release) -> Release:
        """The release with what is to be read now."""
        return open_round(release, ledger=self.ledger, place=self.settings.parts, now=time.time())

    def demands_code(self, release: Release) -> bool:
        """Whether its reviewers show a one-time code."""
        with self.ledger.reading() as connection:
            return demands_code(connection, release)

    def decide(self, release: Release, answers: Answers, *, channel: str) -> Decision:
        """
        Record the answers; where another round follows, a run that waits in Prefect rings for it.

        Raises:
            ReviewRefused: They are not taken, and nothing is changed.
        """
        decision = decide(
            release,
            answers,
            channel=channel,
            ledger=self.ledger,
            key_file=self.settings.approval_key,
            now=time.time(),
        )
        if not decision.is_final:
            wake_run(release.run_id, release, self.settings, self.ledger)
        return decision
