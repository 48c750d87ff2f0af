"""What came of a shadow run, in a line."""

from __future__ import annotations

from overnight.failures import CallFailed
from overnight.records import Summary
from overnight.report.diff import Diff
from overnight.report.diff_words import say_agreement


def tell_shadow(diff: Diff, summary: Summary, halted: CallFailed | None) -> str:
    """How its answers compare with the run's, and what this night has paid for them: nothing for hits."""
    version, cost = diff.b.version, summary.cost_usd
    n_answered = summary.accepted + summary.quarantined
    hits = f" ({summary.hits:,} of them hits)" if summary.hits else ""
    line = (
        f"{version.name} {version.prompt_hash[:12]} ({version.model}) answered {n_answered:,} of"
        f" {summary.rows:,} rows{hits} for {'an unknown price' if cost is None else f'{cost:.4f} USD'}:"
        f" {diff.outcomes.only_a:,} accepted by the run's prompt alone, {diff.outcomes.only_b:,} by this one alone,"
        f" {diff.whole.n_same:,} of {diff.whole.n:,} that both accept the same, {say_agreement(diff.whole)}."
    )
    return f"{line} It halted: {halted}" if halted else line
