"""What people are told of a run: counts, names, times and where to go; of what rows say, nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from overnight.notices import Notice
from overnight.records import Release
from overnight.report.text import describe_effect

#: What the last answer came to. Its own words may name rows, so they are not repeated.
_OUTCOMES = {
    "approved": "it was approved, and the approval was not used in time",
    "more": "more rows have to be read",
    "second": "rows have to be read by somebody else too",
    "missed": "too few seeds were caught, so it has to be read again",
    "refused": "it was refused",
}
_ENDED = {"held": "is held", "halted": "has halted"}
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"))


def tell_waiting(release: Release, flow: str, *, since: float, outcome: str | None = None, link: str | None) -> Notice:
    """
    A release waits for a person.

    Args:
        release: What waits.
        flow: Whose run it is.
        since: When it began to wait in this round.
        outcome: What the last answer to it came to.
        link: The flow run's page in Prefect's UI.
    """
    n, n_items = release.n_rows, len(release.items)
    what = f"{_count(n, 'row')} {'waits' if n == 1 else 'wait'} to be sent to {release.sink}."
    lines = [
        f"Flow {flow}, run {release.run_id}: {what} {describe_effect(release)}",
        f"To be read: {_count(n_items, 'item')}.",
    ]
    if outcome:
        said = _OUTCOMES.get(outcome, outcome)
        lines.insert(0, f"Round {release.round + 1}. What became of the last answer: {said}.")
    lines.append(_describe_time(release, since))
    return Notice("waiting", f"Run {release.run_id} waits for a person", (*lines, *_lead_to(release.run_id, link)))


def tell_soon(release: Release, flow: str, *, since: float, until: float, now: float, link: str | None) -> Notice:
    """It will not wait much longer."""
    n_rows = _count(release.n_rows, "row")
    lines = (
        f"Flow {flow}, run {release.run_id}: nobody has decided yet about {n_rows} for {release.sink}.",
        _describe_time(release, since),
    )
    title = f"Run {release.run_id} stops waiting in {describe_span(until - now)}"
    return Notice("soon", title, (*lines, *_lead_to(release.run_id, link)))


def tell_over(release: Release, flow: str, *, since: float, link: str | None) -> Notice:
    """Its time to wait is over."""
    n_rows = _count(release.n_rows, "row")
    lines = (
        f"Flow {flow}, run {release.run_id}: nobody decided about {n_rows} for {release.sink}. They have not left.",
        _describe_time(release, since),
        "Prefect takes no answer for it any more; the command still does.",
    )
    return Notice("over", f"Run {release.run_id} has stopped waiting", (*lines, *_lead_to(release.run_id, link)))


def tell_end(kind: str, run_id: str | None, flow: str, reason: str, link: str | None) -> Notice:
    """A run ended "held" before anybody was asked, or "halted"; without an id where it could not even be opened."""
    name = f"Run {run_id}" if run_id else f"Flow {flow}"
    lines = [f"Flow {flow}: {reason}", *([f"In Prefect: {link}"] if link else [])]
    return Notice(kind, f"{name} {_ENDED[kind]}", (*lines, "`overnight runs` shows where each run stands."))


def describe_span(seconds: float) -> str:
    """A length of time in words, in the largest unit of which there are two or more; rounded down."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return _count(int(seconds // size), unit)
    return _count(max(1, int(seconds // 60)), "minute")


def _describe_time(release: Release, since: float) -> str:
    if not release.policy.waits_d:
        return f"It waits since {_show(since)}."
    waits_s = release.policy.waits_d * 86_400
    return f"It waits since {_show(since)}, for {describe_span(waits_s)}: until {_show(since + waits_s)}."


def _lead_to(run_id: str, link: str | None) -> tuple[str, ...]:
    how = f"Read and decide: `overnight review {run_id} --web`"
    return (f"{how}, or in Prefect: {link}" if link else f"{how}.",)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _show(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
