"""What rows that were not asked yet will take, as a range out of what such rows have taken."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from overnight.complete.context import RunContext
from overnight.complete.money import OverBudget
from overnight.ledger import Ledger
from overnight.ledger.usage import RequestUsage, sample_usage
from overnight.records import Prompt


@dataclass(frozen=True)
class Range:
    """From one row in ten that took less to one row in ten that took more, times the rows."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What a number of rows will take."""

    calls: Range
    input_tokens: Range
    output_tokens: Range
    #: By calls one by one, and in provider batches; None where a price is not known, or there are no batches.
    cost_usd: Range | None
    batch_cost_usd: Range | None = None


def estimate(sample: Sequence[RequestUsage], n_rows: int) -> Estimate | None:
    """The range for `n_rows` more rows like those of the sample, at what they cost; None where there is no sample."""
    if not sample:
        return None
    costs = [u.cost_usd for u in sample if u.cost_usd is not None]
    return Estimate(
        calls=stretch([u.n_calls for u in sample], n_rows),
        input_tokens=stretch([u.input_tokens for u in sample], n_rows),
        output_tokens=stretch([u.output_tokens for u in sample], n_rows),
        cost_usd=stretch(costs, n_rows) if costs else None,
    )


def stretch(values: Sequence[float], n_rows: int) -> Range:
    """From a tenth to nine tenths of what single rows took, times the rows."""
    if len(values) == 1:
        return Range(values[0] * n_rows, values[0] * n_rows)
    # "inclusive": the sample's own least and most are its ends, however small it is.
    deciles = statistics.quantiles(values, n=10, method="inclusive")
    return Range(deciles[0] * n_rows, deciles[-1] * n_rows)


def describe_halt(context: RunContext, prompt: Prompt, n_left: int, ledger: Ledger) -> str:
    """Why a run stopped, what is left, and what that will take; one line."""
    halted = context.halted
    line = f"Run {context.run_id} halted: {halted} {n_left:,} rows are left"
    with ledger.reading() as connection:
        rest = estimate(sample_usage(connection, prompt.prompt_hash), n_left)
    if rest and rest.cost_usd:
        line += f", which will take about ${rest.cost_usd.low:.4f} to ${rest.cost_usd.high:.4f} more"
    elif isinstance(halted, OverBudget):
        line += f", which will take ${n_left * halted.worst_usd:.4f} more at the most where one call a row is enough"
    return f"{line}. Answers so far are kept: mend the cause and run the flow again, they are hits."
