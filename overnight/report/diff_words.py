"""The figures of a comparison as words and cells, for every way it is shown."""

from __future__ import annotations

from overnight.report.diff import Agreement, Diff, Outcomes
from overnight.report.diff_figures import Figures
from overnight.report.reviews import say_count

#: Below this a p-value is told as less than it.
_LEAST_P = 0.0001


def say_pairs(diff: Diff) -> str:
    """What was paired, and what was not."""
    rest = [f"{diff.n_only_a:,} only in A", f"{diff.n_only_b:,} only in B"]
    if diff.n_other_input:
        rest.append(f"{diff.n_other_input:,} in both with another input, not compared")
    if diff.n_purged:
        rest.append(f"{diff.n_purged:,} purged")
    return f"{say_count(diff.n_pairs, 'pair')} by {diff.paired_by}; {', '.join(rest)}"


def say_outcomes(outcomes: Outcomes) -> str:
    """Whether one side accepts more."""
    waiting = f"; {say_count(outcomes.unanswered, 'pair')} not answered yet" if outcomes.unanswered else ""
    if outcomes.p_value is None:
        return f"No pair is accepted by one side alone{waiting}."
    p = f"p < {_LEAST_P}" if outcomes.p_value < _LEAST_P else f"p = {outcomes.p_value:.4f}"
    counts = f"{outcomes.only_a:,} accepted by A alone, {outcomes.only_b:,} by B alone"
    return f"{counts}; McNemar's exact test: {p}{waiting}."


def say_agreement(agreement: Agreement) -> str:
    """The share with its interval."""
    if agreement.share is None:
        return "nothing to compare"
    assert agreement.low is not None and agreement.high is not None  # noqa: S101, PT018 - narrows the types
    return f"{agreement.share:.1%} ({agreement.low:.1%} to {agreement.high:.1%})"


def say_whole(diff: Diff) -> str:
    """How many answers are the same altogether."""
    n = diff.whole.n
    return f"Of {say_count(n, 'pair')} that both accept, {diff.whole.n_same:,} are the same in every field: " + (
        say_agreement(diff.whole) + ", Wilson's 95 % interval"
    )


def say_said(diff: Diff) -> list[str]:
    """What people said of these rows."""
    said = diff.said
    if not said.n_pairs:
        return ["Nobody has read any of these rows yet."]
    sources = f"{said.n_verdicts:,} in reviews, {said.n_readings:,} by readers of traces"
    lines = [f"People judged {say_count(said.n_pairs, 'pair')} ({sources}):"]
    for name, tally in (("A", said.a), ("B", said.b)):
        lines.append(f"{name} right {tally.right:,}, wrong {tally.wrong:,}, nothing said {tally.unsaid:,}")
    return lines


#: What each column of the figures is headed.
FIGURES = ("requests", "sends", "tokens in", "tokens out", "USD", "USD a row", "p50", "p95")


def list_figures(figures: Figures) -> tuple[str, ...]:
    """The figures of one side, by `FIGURES`."""
    f = figures
    return (
        f"{f.n_requests:,}",
        f"{f.n_attempts:,}",
        _number(f.input_tokens, ",.1f"),
        _number(f.output_tokens, ",.1f"),
        _number(f.cost_usd, ".4f"),
        _number(f.cost_per_accepted_usd, ".6f"),
        _number(f.latency_p50_s, ".2f", " s"),
        _number(f.latency_p95_s, ".2f", " s"),
    )


FIGURES_NOTE = (
    "Tokens: a request, all of its sends together, whichever run made them. USD a row: an accepted one. p50, p95: how"
    " long an accepted send took."
)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "?" if value is None else f"{value:{form}}{unit}"
