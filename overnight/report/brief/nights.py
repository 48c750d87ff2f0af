"""The last nights of a prompt: how the run's figures stand beside theirs, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import sqlalchemy as sa

from overnight.ledger.measures import Measures, find_measures, list_measures
from overnight.ledger.measures import Night as KeptNight
from overnight.report.brief.model import FigureRow
from overnight.report.brief.plots import Plot
from overnight.report.drift import measure_distances
from overnight.report.figures import Figures
from overnight.report.kept import find_profile, read_measures

#: Nights that are looked back on.
N_NIGHTS = 14
#: Classes of failures that are drawn apart.
_N_CLASSES = 5
_KS_LIMIT, _PSI_LIMIT = 0.15, 0.2


@dataclass(frozen=True)
class Night:
    """A run of the flow with the figures of one of its steps."""

    name: str
    figures: Figures
    #: As it is kept.
    kept: Measures


def list_nights(connection: sa.Connection, prompt: str, run: Mapping[str, Any]) -> list[Night]:
    """The run and the nights of the prompt before it in its flow, oldest first."""
    kept = list_measures(connection, prompt, limit=N_NIGHTS, flow=run["flow"], until=run["started_at"])
    return [Night(_name(k), read_measures(k.measures).figures, k.measures) for k in kept]


def list_figures(this: Figures, before: Figures | None, nights: Sequence[Night]) -> list[FigureRow]:
    """The run's figures beside those of the run that it was compared with, and the median of the others."""
    others = [n.figures for n in nights if n.figures.run_id != this.run_id]
    return [
        FigureRow(
            name, get(this), (show(get(this)), show(get(before)) if before else "", show(_find_median(others, get)))
        )
        for name, get, show in _FIGURES
    ]


def list_plots(connection: sa.Connection, nights: Sequence[Night]) -> list[Plot]:
    """What is drawn of the nights; a single one is no course."""
    if len(nights) < 2:  # noqa: PLR2004 - see above
        return []
    names, of = tuple(n.name for n in nights), [n.figures for n in nights]
    distances = [_find_distances(connection, n.kept) for n in nights]
    plots = [
        Plot("Cost of an accepted row, USD", names, {"an accepted row": [f.cost_per_accepted_usd for f in of]}, "lines",
             note="Failed calls are in it; a night of hits costs nothing."),
        Plot("Rows", names, {"accepted": [f.n_accepted for f in of], "quarantined": [f.n_quarantined for f in of],
                             "pending": [f.n_pending for f in of]}, "bars"),
        Plot("Failed attempts by class", names, _count_failures(of), "bars"),
        Plot("Refused, hedged and asked again, % of what was asked or searched", names,
             {"refused": [_percent(f.refusal_rate) for f in of], "hedged": [_percent(f.hedge_rate) for f in of],
              "asked again": [_percent(f.reask_rate) for f in of]}, "lines"),
        Plot("Drift of values, PSI", names, _list_distances(distances, "psi"), "lines", {"limit": _PSI_LIMIT},
             "The largest, against the run that each night was compared with."),
        Plot("Drift of lengths, KS", names, _list_distances(distances, "ks"), "lines", {"limit": _KS_LIMIT},
             "The largest, against the same."),
        Plot("Tokens a request", names, {"in": [f.input_tokens_per_request for f in of],
                                         "out": [f.output_tokens_per_request for f in of]}, "lines"),
        Plot("Time of a call, s", names, {"median": [f.latency_p50_s for f in of],
                                          "19 of 20 are quicker": [f.latency_p95_s for f in of]}, "lines"),
    ]  # fmt: skip
    return [plot for plot in plots if not plot.is_empty]


def _name(kept: KeptNight) -> str:
    return f"{datetime.fromtimestamp(kept.started_at, UTC):%d %b}"


def _find_distances(connection: sa.Connection, kept: Measures) -> dict[str, float]:
    """
    How far a night was from the run that it was compared with; empty where it was not.

    The largest PSI of its inputs' and of its answers' values, and the largest KS of their lengths.
    """
    if kept.compared_with is None:
        return {}
    before = find_measures(connection, kept.compared_with).values()
    reference = next((find_profile(m) for m in before if m.prompt_name == kept.prompt_name), None)
    profile = find_profile(kept)
    if reference is None or profile is None:
        return {}
    found: dict[str, float] = {}
    for what, measure, value in measure_distances(reference, profile):
        side = f"{'inputs' if what.startswith('input.') else 'answers'} {measure}"
        found[side] = max(found.get(side, 0.0), value)
    return found


def _list_distances(nights: Sequence[dict[str, float]], measure: str) -> dict[str, list[float | None]]:
    return {side: [night.get(f"{side} {measure}") for night in nights] for side in ("inputs", "answers")}


def _count_failures(of: Sequence[Figures]) -> dict[str, list[float | None]]:
    totals: dict[str, int] = {}
    for f in of:
        for name, n in f.failure_classes.items():
            totals[name] = totals.get(name, 0) + n
    named = sorted(totals, key=lambda name: (-totals[name], name))[:_N_CLASSES]
    series: dict[str, list[float | None]] = {name: [f.failure_classes.get(name, 0) for f in of] for name in named}
    rest: list[float | None] = [sum(n for name, n in f.failure_classes.items() if name not in named) for f in of]
    return series | ({"others": rest} if any(rest) else {})


def _find_median(others: Sequence[Figures], get: Callable[[Figures], float | None]) -> float | None:
    values = [value for f in others if (value := get(f)) is not None]
    return median(values) if values else None


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _show_count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _show_share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _show_usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.6f}"


def _show_seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f} s"


_Figure = tuple[str, Callable[[Figures], float | None], Callable[[float | None], str]]
_FIGURES: tuple[_Figure, ...] = (
    ("rows", lambda f: f.n_rows, _show_count),
    ("accepted", lambda f: f.n_accepted, _show_count),
    ("quarantined", lambda f: f.n_quarantined, _show_count),
    ("answered without a call", lambda f: f.hit_rate, _show_share),
    ("cost, USD", lambda f: f.cost_usd, _show_usd),
    ("cost of an accepted row, USD", lambda f: f.cost_per_accepted_usd, _show_usd),
    ("tokens in, a request", lambda f: f.input_tokens_per_request, _show_count),
    ("tokens out, a request", lambda f: f.output_tokens_per_request, _show_count),
    ("refused", lambda f: f.refusal_rate, _show_share),
    ("hedged", lambda f: f.hedge_rate, _show_share),
    ("asked again", lambda f: f.reask_rate, _show_share),
    ("failed attempts", lambda f: sum(f.failure_classes.values()), _show_count),
    ("time of a call, median", lambda f: f.latency_p50_s, _show_seconds),
    ("time of a call, 95th percentile", lambda f: f.latency_p95_s, _show_seconds),
)
