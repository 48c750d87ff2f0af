"""What the page needs of whoever takes its answers in."""

from __future__ import annotations

from typing import Protocol

from overnight.approve import Answers, Decision
from overnight.records import Release


class Desk(Protocol):
    """Where rounds are opened and answers decided on."""

    def open_round(self, release: Release) -> Release:
        """The release with what is to be read now."""
        ...

    def demands_code(self, release: Release) -> bool:
        """Whether its reviewers show a one-time code."""
        ...

    def decide(self, release: Release, answers: Answers, *, channel: str) -> Decision:
        """
        Record the answers.

        Raises:
            ReviewRefused: They are not taken, and nothing is changed.
        """
        ...
