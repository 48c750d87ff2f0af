"""What the doctor found: one line, and one more that says what to do where something is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    #: "warn": a night may go wrong for it; "fail": it will.
    level: Level
    what: str
    said: str
    #: What to do; empty where nothing is to be done.
    remedy: str = ""


def ok(what: str, said: str) -> Finding:
    """It is as it should be."""
    return Finding("ok", what, said)


def warn(what: str, said: str, remedy: str) -> Finding:
    """A night may go wrong for it."""
    return Finding("warn", what, said, remedy)


def fail(what: str, said: str, remedy: str) -> Finding:
    """A night will go wrong for it."""
    return Finding("fail", what, said, remedy)
