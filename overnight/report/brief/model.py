"""What a brief says of a run, gathered before it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overnight.records import Summary
from overnight.report.brief.plots import Plot
from overnight.report.measure import RunReport
from overnight.report.waiting import Wait


@dataclass(frozen=True)
class FigureRow:
    """A figure of the run beside those of other nights, ready to be read."""

    name: str
    #: Of this run; None: it is not known, or there was nothing to have it.
    value: float | None
    #: In words, of this run, of the one it was compared with, and the median of the nights before.
    cells: tuple[str, str, str]


@dataclass(frozen=True)
class Changed:
    """Something that differs from the run that this one was compared with."""

    words: str
    #: "hold" or "warning".
    severity: str
    #: Which of the run's prompts it is of.
    prompt: str


@dataclass(frozen=True)
class ShownRow:
    """A row that deserves to be read, without what its prompt declares private."""

    row_id: str
    why: str
    given: Mapping[str, Any]
    #: None where no answer was accepted: then there is a reason.
    output: Mapping[str, Any] | None
    reason: str | None
    #: How it was asked, in words.
    course: str


@dataclass(frozen=True)
class Brief:
    """One run as somebody reads of it in the morning."""

    run_id: str
    flow: str
    #: "night" or "retry".
    kind: str
    state: str
    #: Why it stands there, where that was recorded.
    reason: str | None
    started_at: float
    report: RunReport
    #: What waits for somebody, of this run and of others.
    waits: tuple[Wait, ...]
    #: The run that it was compared with; None: there was none.
    compared_with: str | None
    changes: tuple[Changed, ...]
    figures: tuple[FigureRow, ...]
    plots: tuple[Plot, ...]
    rows: tuple[ShownRow, ...]
    #: Why there are no more of them.
    rows_note: str
    #: Rows promised to the sink, by what became of them.
    deliveries: Mapping[str, int]
    #: Prompt, model and checks of each step, in a line each.
    versions: tuple[str, ...]
    made_at: float

    @property
    def summary(self) -> Summary:
        """What the run came to, in numbers."""
        return self.report.summary
