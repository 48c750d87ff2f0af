"""A figure with its goal, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A bound that a figure keeps to."""

    bound: float
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    #: None: it was not measured.
    value: float | None
    unit: str
    #: None: it stands there to be compared with.
    goal: Goal | None = None
    #: The floor or peer of the same run, and what else the figure needs to be understood.
    beside: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(self.value) else "**missed**"

    def __str__(self) -> str:
        value = "" if self.value is None else f"{_format(self.value)} {self.unit}".rstrip()
        return f"| {self.name} | {self.goal or ''} | {value} | {self.verdict} | {self.beside} |"


def print_head() -> None:
    """The first two lines of the table."""
    print("| figure | goal | measured | | beside |\n|---|---|---|---|---|", flush=True)


def print_figures(figures: Iterable[Figure]) -> list[Figure]:
    """Print each as soon as it is there, and hand all of them back."""
    kept = []
    for figure in figures:
        print(figure, flush=True)
        kept.append(figure)
    return kept


def _format(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"  # noqa: PLR2004 - three digits say enough
