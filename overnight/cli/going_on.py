"""`overnight continue`: a run whose rows are with a provider, or that has halted, goes on under its own id."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

import click
import httpx
import sqlalchemy as sa

from overnight.cli.run import continue_flow
from overnight.cli.server import find_server, is_healthy, prefect_environment
from overnight.cli.show import get_ledger
from overnight.cli.telling import tell
from overnight.complete.mode import check_manner, find_by_at, refuse_time_online
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.ledger.lives import find_last_pass, find_lost
from overnight.ledger.queries import find_run, get_run, list_passes
from overnight.ledger.runs import list_asked
from overnight.ledger.terms import change_mode, find_budget, pin_budget
from overnight.llm import endpoint_of, name_variable, parse_model
from overnight.records import Mode, RunState
from overnight.report.measure import measure
from overnight.settings import Settings

#: How long to wait for a worker to pick a resumed run up and finish it.
_FOLLOW_S = 180.0
_LOOK_S = 0.5
_GOES_ON = {RunState.BATCHED, RunState.HALTED}
#: What to do about a run in another state.
_INSTEAD = {
    RunState.WAITING: "it waits for a person: `overnight review {}`",
    RunState.HELD: "`overnight report {}` says why; mend it, and run the flow again",
    RunState.RUNNING: "a process works on it: `overnight runs` shows how far it is",
}


def continue_run(
    run_id: str, *, wait: bool, budget: float | None, mode: str | None, by_time: str | None, as_json: bool
) -> int:
    """
    Continue the run where it stopped; the exit code.

    Args:
        run_id: The run.
        wait: Whether to stay beside it.
        budget: What it may cost from now on, in US dollars; None: what it began with.
        mode: How its rows are asked from now on; None: as they were.
        by_time: By when it is to be done, HH:MM, in place of the time before.
        as_json: Whether the summary is printed as JSON.

    Raises:
        OvernightError: It is in a state that nothing follows on, a process works on it, or its models have no batches.
    """
    refuse_time_online(mode, by_time)
    settings = Settings.from_env()
    ledger = get_ledger(settings)
    _refuse_unfit(run_id, ledger)
    with ledger.reading() as connection:
        passes, asked = list_passes(connection, run_id), list_asked(connection, run_id)
    for model, _ in asked:
        check_manner(parse_model(model), replace(settings, mode=mode))
    _change(run_id, ledger, budget, Mode(mode) if mode else None, by_time)
    for line in _list_other_endpoints(asked):
        click.echo(line, err=True)
    if wait:
        os.environ["OVERNIGHT_WAIT"] = "1"
    if passes and passes[-1]["deployed"] and _resume_in_prefect(passes[-1]["flow_run_id"], settings):
        return _follow(run_id, len(passes), ledger, settings, wait=wait, as_json=as_json)
    if budget is None and (other := _say_other_budget(run_id, ledger, settings)):
        click.echo(other, err=True)
    return continue_flow(run_id, as_json=as_json, mode=mode, budget=budget)


def _change(run_id: str, ledger: Ledger, budget: float | None, mode: Mode | None, by_time: str | None) -> None:
    """Pin with the run what was said of it, before anybody goes on: a worker reads it there."""
    now = time.time()
    by_at = find_by_at(by_time, now) if by_time else None

    def change(connection: sa.Connection) -> None:
        pin_budget(connection, run_id, budget, replaces=True)
        change_mode(connection, run_id, mode, now, by_at=by_at)

    ledger.write(change)


def _list_other_endpoints(asked: list[tuple[str, str]]) -> list[str]:
    """A line for each provider that the environment reaches elsewhere than the run does."""
    models = ((parse_model(model), pinned) for model, pinned in asked)
    others = {name_variable(model): pinned for model, pinned in models if endpoint_of(model) != pinned}
    return [
        f"This run asks {pinned}, as when it began; {variable} is another now: begin a new run to use it."
        for variable, pinned in others.items()
    ]


def _say_other_budget(run_id: str, ledger: Ledger, settings: Settings) -> str | None:
    """That the environment says another budget than the run has, which it takes."""
    pinned = ledger.read(lambda connection: find_budget(connection, run_id))
    if None in (pinned, settings.budget_usd) or pinned == settings.budget_usd:
        return None
    return (
        f"Run {run_id} may cost {settings.budget_usd:g} USD from now on, as OVERNIGHT_BUDGET_USD says; before it was"
        f" {pinned:g} USD."
    )


def _refuse_unfit(run_id: str, ledger: Ledger) -> None:
    with ledger.reading() as connection:
        if find_run(connection, run_id) is None:
            raise OvernightError(
                f"There is no run {run_id}. If it was announced and ended at once, nothing was recorded of it yet and"
                " nothing was asked: run its flow again. `overnight runs` lists the runs."
            )
        run = get_run(connection, run_id)
        is_lost = run_id in {gone.run_id for gone in find_lost(connection)}
        passes = list_passes(connection, run_id)
        last = find_last_pass(connection, passes[-1]["flow_run_id"]) if passes else None
    if run["kind"] == "shadow":
        raise OvernightError(f"Run {run_id} shadows run {run['of_run']}: it is not continued by itself. Continue that.")
    state = RunState(run["state"])
    if not is_lost and state not in _GOES_ON:
        instead = _INSTEAD.get(state, "there is nothing to go on with; a new run is `overnight run FLOW`")
        raise OvernightError(f"Run {run_id} is {state}: {instead.format(run_id)}.")
    if last and state is RunState.BATCHED and not last.is_over:
        raise OvernightError(
            f"Run {run_id} is batched, and a process waits beside it: it goes on by itself. `overnight batches"
            f" {run_id}` shows how far it is."
        )


def _resume_in_prefect(flow_run_id: str, settings: Settings) -> bool:
    """Whether the flow run was suspended and is resumed now, or is on its way already."""
    api_url = os.environ.get("PREFECT_API_URL") or find_server(settings)
    if not api_url or not is_healthy(api_url):
        return False
    os.environ.update(prefect_environment(settings.home) | {"PREFECT_API_URL": api_url})
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - late: Prefect takes seconds
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - the same

    try:
        with get_client(sync_client=True) as client:
            return _resume(client, UUID(flow_run_id))
    except ObjectNotFound:
        return False
    except httpx.HTTPError as error:
        click.echo(f"Prefect could not be told to go on with flow run {flow_run_id} ({error}).", err=True)
        return False


def _resume(client: Any, flow_run_id: UUID) -> bool:
    state = client.read_flow_run(flow_run_id).state
    if state is None or not state.is_paused():
        return state is not None and bool(state.is_scheduled() or state.is_pending())
    return bool(client.resume_flow_run(flow_run_id).status.value == "ACCEPT")


def _follow(run_id: str, n_passes: int, ledger: Ledger, settings: Settings, *, wait: bool, as_json: bool) -> int:
    click.echo("Prefect resumes the run; a worker picks it up within seconds.", err=True)
    deadline = math.inf if wait else time.monotonic() + _FOLLOW_S
    while not (is_done := _has_stopped(run_id, n_passes, ledger, wait=wait)) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    if not is_done:
        click.echo("The run goes on; `overnight runs` shows it. Is a worker running (`overnight up`)?", err=True)
    with ledger.reading() as connection:
        reason = get_run(connection, run_id)["reason"]
    report = measure(run_id, ledger=ledger, place=settings.parts, now=time.time(), home=settings.home)
    return tell(report, reason, as_json=as_json)


def _has_stopped(run_id: str, n_passes: int, ledger: Ledger, *, wait: bool) -> bool:
    """Whether a worker took the run up, and left it again; one that is waited for, not while its batches are out."""
    with ledger.reading() as connection:
        state, passes = get_run(connection, run_id)["state"], list_passes(connection, run_id)
    if wait and state == RunState.BATCHED:
        return False
    return len(passes) > n_passes and state != RunState.RUNNING and passes[-1]["ended_at"] is not None
