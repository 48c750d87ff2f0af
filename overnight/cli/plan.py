"""`overnight plan`: what a run would do, in words or as JSON; nothing is called, started or recorded."""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import click

from overnight.cli.project import find_flow_module, fit_parameters, load_flow
from overnight.cli.server import prefect_environment
from overnight.cli.show import get_ledger, print_json
from overnight.complete import Estimate, Range
from overnight.complete.forecast import Ground
from overnight.complete.misses import Reason
from overnight.complete.mode import check_manner
from overnight.complete.plan import Plan, StepPlan
from overnight.failures import OvernightError
from overnight.ledger.spend import find_spend, night_scope
from overnight.llm import parse_model
from overnight.records import Mode
from overnight.settings import Settings

_REASONS = {
    Reason.WITH_PROVIDER: "with a provider already: neither asked nor paid for anew",
    Reason.NEVER_ANSWERED: "asked before, in vain",
    Reason.CHANGED_MODEL: "asked before of another model, or elsewhere",
    Reason.CHANGED_PROMPT: "asked before by another version of the prompt",
    Reason.CHANGED_ROW: "changed since the last run",
    Reason.NEW_ROW: "new",
}
_GROUNDS = {
    Ground.RECORDED: "as such rows have taken so far",
    Ground.OTHER_VERSION: "as another version of the prompt has taken; this one has no record yet",
    Ground.SIZES: "a guess from the sizes of prompt and rows; nothing like it is on record",
}


def plan_flow(
    name: str,
    *,
    source: str | None,
    model: str | None,
    limit: int | None,
    mode: str | None,
    by_time: str | None,
    as_json: bool,
) -> int:
    """Say what a run of the flow would do; the process's exit code."""
    module = find_flow_module(name)
    settings = Settings.from_env()
    settings = replace(settings, limit=limit or settings.limit, mode=mode or settings.mode, by=by_time or settings.by)
    check_manner(parse_model(model) if model else None, settings)
    os.environ.update(prefect_environment(settings.home))
    flow = load_flow(module)
    parameters = fit_parameters(flow, {"source": source, "model": model})
    plan: Plan = _load_planner().plan_flow(flow, parameters, settings)
    if as_json:
        print_json(as_object(flow.name, plan))
    else:
        click.echo(describe(flow.name, plan))
    for line in warn_of_budget(plan, settings):
        click.echo(line, err=as_json)
    return 0


def _load_planner() -> Any:
    """The project's own tasks, by name as its flows are."""
    try:
        return importlib.import_module("tasks.plan")
    except ImportError as error:
        raise OvernightError(
            f"tasks/plan.py cannot be imported ({error}). A plan runs a flow's steps: keep tasks/ beside flows/."
        ) from error


def as_object(flow: str, plan: Plan) -> dict[str, Any]:
    """The one object that `--json` prints."""
    return {
        "flow": flow,
        "source": plan.source,
        "steps": [_step_as_object(step) for step in plan.steps],
        "rows": plan.n_rows,
        "hits": sum(step.n_hits for step in plan.steps),
        "misses": sum(step.n_misses for step in plan.steps),
    }


def _step_as_object(step: StepPlan) -> dict[str, Any]:
    needs = step.forecast.needs
    return {
        "prompt": step.prompt.name,
        "model": step.prompt.model,
        "prompt_hash": step.prompt.prompt_hash,
        "rows": step.n_rows,
        "quarantined_at_intake": step.n_quarantined_at_intake,
        "hits": step.n_hits,
        "quarantined_before": step.n_quarantined_before,
        "to_ask": step.n_to_ask,
        "misses": {str(reason): n for reason, n in step.misses.items()},
        "calls": _count_range(needs.calls),
        "input_tokens": _count_range(needs.input_tokens),
        "output_tokens": _count_range(needs.output_tokens),
        "cost_usd": None if needs.cost_usd is None else asdict(needs.cost_usd),
        "batch_cost_usd": None if needs.batch_cost_usd is None else asdict(needs.batch_cost_usd),
        "has_batch_price": step.has_batch_price,
        "mode": str(step.mode),
        "by": step.by,
        "estimated_from": str(step.forecast.ground),
        "unknown_rows": step.n_unknown,
    }


def _count_range(counts: Range) -> dict[str, int]:
    return {"low": math.floor(counts.low), "high": math.ceil(counts.high)}


def describe(flow: str, plan: Plan) -> str:
    """A plan in words."""
    if not plan.steps:
        return (
            f"{flow}: nothing would be asked: the flow comes to its end, or to its gate, before any complete_batches."
        )
    lines = [f"{flow}: {plan.n_rows:,} rows of {plan.source}; nothing was called"]
    for step in plan.steps:
        lines += [f"  {step.prompt.name}, {step.prompt.model}", *(f"    {line}" for line in _describe_step(step))]
    return "\n".join(lines)


def _describe_step(step: StepPlan) -> list[str]:
    least = "at least " if step.n_unknown else ""
    quarantined = f"{step.n_quarantined_before:,} quarantined before + {step.n_quarantined_at_intake:,} at intake"
    batched = f" + {step.n_with_provider:,} with a provider" if step.n_with_provider else ""
    lines = [f"{least}{step.n_rows:,} rows = {step.n_hits:,} hits + {step.n_to_ask:,} to ask{batched} + {quarantined}"]
    if step.n_unknown:
        lines.append(f"{step.n_unknown:,} rows of the step before are still to be answered; they may add to these")
    lines += [f"  {n:,} {_REASONS[reason]}" for reason, n in step.misses.items() if n]
    if step.n_to_ask:
        lines += [least + _describe_needs(step.forecast.needs), _GROUNDS[step.forecast.ground]]
        lines += _describe_mode(step)
    return lines


def _describe_mode(step: StepPlan) -> list[str]:
    """What batches would cost, and whether they would be made; nothing where there is no choice."""
    cost, lines = step.forecast.needs.batch_cost_usd, []
    if cost and not step.has_batch_price:
        lines.append(f"in batches counted the same: there is no price of batches of {step.prompt.model} on the list")
    elif cost:
        lines.append(f"in batches {_say_usd(cost)}")
    if step.mode is Mode.BATCH:
        by = f", and online what is not answered shortly before {step.by}" if step.by else ""
        lines.append(f"asked in batches: answered within a day{by}")
    elif cost and step.has_batch_price:
        lines.append("asked online, as neither the prompt nor --mode says batch")
    return lines


def _describe_needs(needs: Estimate) -> str:
    cost = "at an unknown price"
    if needs.cost_usd:
        cost = f"for {_say_usd(needs.cost_usd)}"
    counts = (needs.calls, needs.input_tokens, needs.output_tokens)
    calls, n_in, n_out = (_span(f"{n:,}" for n in _count_range(each).values()) for each in counts)
    return f"{calls} calls {cost}, {n_in} tokens in, {n_out} out"


def _say_usd(cost: Range) -> str:
    return f"{_span(f'{usd:.4f}' for usd in asdict(cost).values())} USD"


def _span(ends: Iterable[str]) -> str:
    """Both ends, or the one where they read the same."""
    return " to ".join(dict.fromkeys(ends))


def warn_of_budget(plan: Plan, settings: Settings) -> list[str]:
    """A line for each budget that the run may come to the end of."""
    high = sum(step.most_usd for step in plan.steps)
    lines = []
    if settings.budget_usd is not None and high > settings.budget_usd:
        lines.append(f"It may cost {high:.4f} USD: a run halts before it is over its {settings.budget_usd:g} USD.")
    if settings.nightly_budget_usd is not None and high > (
        left := _left_of_night(settings, settings.nightly_budget_usd)
    ):
        lines.append(f"It may cost {high:.4f} USD: a run halts before it is over the {left:g} USD left of this night.")
    return lines


def _left_of_night(settings: Settings, budget_usd: float) -> float:
    scope = night_scope(time.time())
    try:
        ledger = get_ledger(settings)
    except OvernightError:
        return budget_usd
    with ledger.reading() as connection:
        found = find_spend(connection, [scope])
    return max(0.0, budget_usd - sum(spend.total_usd for spend in found.values()))
