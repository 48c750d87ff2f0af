"""What a brief says in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from overnight.notices import Notice
from overnight.report.brief.model import Brief
from overnight.report.reviews import say_count

_HEADLINES = {
    "waiting": "{n} wait to be read before they leave",
    "released": "{n} left",
    "held": "The run is held: nothing has left",
    "rejected": "The release was rejected: nothing has left",
    "halted": "The run has halted before its end",
    "running": "The run is still going on",
    "batched": "The run waits for a provider: its rows are answered together, within a day",
}


def headline(brief: Brief) -> str:
    """The one line that is read where only one is."""
    s = brief.summary
    n = s.published if brief.state == "released" else count_open(brief)
    return _HEADLINES.get(brief.state, brief.state).format(n=f"{n:,} of {say_count(s.rows, 'row')}")


def lead(brief: Brief) -> list[str]:
    """What follows it."""
    s = brief.summary
    cost = "at a price that is not known" if s.cost_usd is None else f"for {s.cost_usd:,.4f} USD"
    lines = [brief.reason] if brief.reason else []
    done = f"{say_count(s.calls, 'call')} {cost}, {s.hits:,} answers that were there already, {s.seconds:,.0f} s."
    return [*lines, f"Run `{brief.run_id}`, begun {show_moment(brief.started_at)}: {done}"]


def count_open(brief: Brief) -> int:
    """Rows that were accepted by the last step, and about which nothing has been decided or done yet."""
    s = brief.summary
    return s.accepted - s.skipped - s.published - s.held


def bar_parts(brief: Brief) -> list[dict[str, Any]]:
    """The run's rows by where they are, each in one place."""
    s = brief.summary
    name = "waiting" if brief.state == "waiting" else "accepted"
    parts = [
        ("published", s.published), (name, count_open(brief)), ("held", s.held), ("skipped", s.skipped),
        ("quarantined", s.quarantined), ("pending", s.pending),
    ]  # fmt: skip
    return [{"name": name, "n": n} for name, n in parts if n > 0]


def name_columns(compared_with: str | None) -> list[str]:
    """Heads of the table of figures."""
    return ["this run", f"run {compared_with}" if compared_with else "no run to compare", "median of the nights"]


def unchanged(brief: Brief) -> str:
    """What is said where no change is told."""
    if brief.compared_with:
        return "Nothing that is measured has changed beyond its limit."
    if brief.kind == "retry":
        return "Rows that are asked again are compared with no night: they are those that were difficult."
    return " ".join(brief.report.compared) or "None of its rows was asked: there is nothing to compare."


def night_of(brief: Brief) -> str:
    """The date that the run began on, UTC."""
    return f"{datetime.fromtimestamp(brief.started_at, UTC):%A, %d %B %Y}"


def footer(brief: Brief) -> list[str]:
    """What made the answers, and when this was written."""
    return [*brief.versions, f"Written {show_moment(brief.made_at)}. `overnight report {brief.run_id}` writes it anew."]


def describe_brief(brief: Brief) -> list[str]:
    """The brief in short, for the terminal."""
    lines = [f"{brief.flow} {brief.run_id}: {brief.state}", headline(brief), *lead(brief)]
    for title, found in (
        ("What waits for somebody", [f"{w.what} {w.how}" for w in brief.waits]),
        ("What changed", [f"{c.severity}: {c.words}" for c in brief.changes] or [unchanged(brief)]),
        ("Figures", _align(brief)),
        ("Set aside", [f"{r.n_rows:,} {r.state}, {r.failure_class}: {r.reason}" for r in brief.report.reasons]),
        ("Worth reading", [f"{r.row_id}: {r.why}" for r in brief.rows]),
    ):
        lines += ["", title, *(f"  {' '.join(line.replace('`', '').split())}" for line in found)] if found else []
    return lines


def _align(brief: Brief) -> list[str]:
    width = max((len(row.name) for row in brief.figures), default=0)
    return [f"{row.name:{width}} ....... {row.cells[0]}" for row in brief.figures]


def summarize_brief(brief: Brief) -> dict[str, Any]:
    """The brief as one JSON object."""
    return asdict(brief.summary) | {
        "flow": brief.flow,
        "reason": brief.reason,
        "compared_with": brief.compared_with,
        "changes": [asdict(change) for change in brief.changes],
        "figures": {row.name: row.value for row in brief.figures},
        "waits": [asdict(wait) for wait in brief.waits],
        "worth_reading": [{"row_id": row.row_id, "why": row.why} for row in brief.rows],
    }


def tell_morning(briefs: Sequence[Brief]) -> Notice:
    """The night in one notice: counts, states and where to go."""
    waiting = sum(brief.state == "waiting" for brief in briefs)
    title = f"{say_count(len(briefs), 'run')} last night" + (f", {waiting} waiting for a person" if waiting else "")
    lines = []
    for brief in briefs:
        changes = f", {say_count(len(brief.changes), 'change')}" if brief.changes else ""
        lines.append(f"{brief.flow}, run {brief.run_id}: {headline(brief)}{changes}.")
    return Notice("brief", title, (*lines, "Each run has its page: `overnight report RUN --open`."))


def show_moment(moment: float) -> str:
    """A moment in UTC, to the minute."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
