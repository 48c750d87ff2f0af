"""What a run came to, told at the terminal: in words, or as the one object of `--json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from overnight.cli.show import print_json
from overnight.records import RunState, Summary
from overnight.report.measure import RunReport

#: Characters of a reason that the terminal shows.
_REASON = 120
#: States that a run may end in without a fault.
_FINE = {RunState.WAITING, RunState.BATCHED, RunState.RELEASED, RunState.REJECTED}


def tell(report: RunReport, reason: str | None, *, as_json: bool) -> int:
    """Print what a run came to; 0 where it is fine, 1 where somebody must act."""
    summary = report.summary
    if as_json:
        print_json(as_object(summary))
    else:
        click.echo(describe(report))
    fine = summary.state in _FINE or (summary.state == RunState.HELD and summary.release is not None)
    if reason:
        click.echo(reason if fine and not as_json else f"overnight: {reason}", err=not fine or as_json)
    return 0 if fine else 1


def as_object(summary: Summary) -> dict[str, Any]:
    """The contract's fields; rows that no later step took are named only where there are some."""
    found = asdict(summary)
    return found if summary.skipped else {name: value for name, value in found.items() if name != "skipped"}


def describe(report: RunReport) -> str:
    """A run's report in words."""
    s = report.summary
    cost = "at an unknown price" if s.cost_usd is None else f"for {s.cost_usd:.4f} USD"
    lines = [
        f"Run {s.run_id}: {s.state}, {s.seconds:.1f} s",
        f"  {s.rows:,} rows = {s.accepted:,} accepted + {s.quarantined:,} quarantined + {s.pending:,} pending",
        f"  {s.hits:,} hits, {s.calls:,} calls {cost}, {s.input_tokens:,} tokens in, {s.output_tokens:,} out",
    ]
    if report.batches:
        lines.append(f"  With a provider: {report.batches}")
    if s.published or s.held:
        lines.append(f"  {s.published:,} published, {s.held:,} held")
    if s.skipped:
        lines.append(f"  {s.skipped:,} accepted rows were not taken by a later step")
    lines += [f"    {r.n_rows:,} {r.state}, {r.failure_class}: {_shorten(r.reason)}" for r in report.reasons]
    lines += [f"  Warning: {line}" for line in report.warnings]
    lines += [f"  {line}" for line in report.retries]
    if report.shadow:
        lines.append(f"  Shadow run: {report.shadow}")
    if report.docs:
        lines.append(f"  Data Docs: {report.docs}")
    if report.docs_elsewhere:
        lines.append(f"  Data Docs: {report.docs_elsewhere}")
    return "\n".join(lines)


def _shorten(reason: str) -> str:
    return reason if len(reason) <= _REASON else reason[:_REASON] + " …"
