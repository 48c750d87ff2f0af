"""`overnight run`: a flow by hand, in this process, seen in the UI of a server that stays."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import click
import httpx

from overnight.cli.progress import show_progress
from overnight.cli.project import find_flow_module, fit_parameters, load_flow
from overnight.cli.server import ensure_server, prefect_environment
from overnight.cli.show import find_login, print_json
from overnight.cli.telling import tell
from overnight.complete import get_engine
from overnight.complete.mode import check_manner, refuse_time_online
from overnight.failures import CallFailed, OvernightError
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.queries import find_run, get_run
from overnight.ledger.runs import set_state
from overnight.llm import check_ready, parse_model
from overnight.records import RunState
from overnight.report.measure import measure
from overnight.settings import Settings
from overnight.taxonomy import FailureClass


def run_flow(
    name: str,
    *,
    source: str | None,
    model: str | None,
    sink: str | None,
    limit: int | None,
    concurrency: int | None,
    budget: float | None,
    wait: bool,
    shadow: str | None,
    shadow_rows: int | None,
    shadow_budget: float | None,
    mode: str | None,
    by_time: str | None,
    as_json: bool,
) -> int:
    """Run a flow by hand; the process's exit code."""
    return start_flow(
        find_flow_module(name),
        {"source": source, "model": model, "sink": sink, "shadow": shadow},
        limit=limit,
        concurrency=concurrency,
        budget=budget,
        shadow_rows=shadow_rows,
        shadow_budget=shadow_budget,
        mode=mode,
        by_time=by_time,
        wait=wait,
        as_json=as_json,
    )


def start_flow(
    module: str,
    parameters: dict[str, Any],
    *,
    limit: int | None,
    concurrency: int | None,
    budget: float | None,
    wait: bool,
    as_json: bool,
    shadow_rows: int | None = None,
    shadow_budget: float | None = None,
    mode: str | None = None,
    by_time: str | None = None,
) -> int:
    """Begin a run of the flow in this module of flows/; its exit code."""
    refuse_time_online(mode, by_time)
    _set_environment(OVERNIGHT_MODE=mode, OVERNIGHT_BY=by_time)
    # Before anything is started or recorded.
    reference = parse_model(parameters["model"]) if parameters.get("model") else None
    check_manner(reference, Settings.from_env())
    if reference:
        check_ready(reference)
    run_id = f"{datetime.now(UTC):%Y%m%d}-{uuid.uuid4().hex[:8]}"
    _set_environment(
        OVERNIGHT_RUN_ID=run_id,
        OVERNIGHT_LIMIT=limit,
        OVERNIGHT_CONCURRENCY=concurrency,
        OVERNIGHT_BUDGET_USD=budget,
        OVERNIGHT_WAIT=int(wait),
        OVERNIGHT_SHADOW_ROWS=shadow_rows,
        OVERNIGHT_SHADOW_BUDGET_USD=shadow_budget,
        OVERNIGHT_STARTED_BY=os.environ.get("OVERNIGHT_STARTED_BY") or find_login(),
    )
    return call_flow(module, run_id, parameters, as_json=as_json)


def continue_flow(run_id: str, *, as_json: bool, mode: str | None = None, budget: float | None = None) -> int:
    """Continue a recorded run in a new flow run; its exit code."""
    with open_ledger(Settings.from_env().ledger_url).reading() as connection:
        run = get_run(connection, run_id)
    _set_environment(OVERNIGHT_RUN_ID=run_id, OVERNIGHT_MODE=mode, OVERNIGHT_BUDGET_USD=budget)
    return call_flow(find_flow_module(run["flow"]), run_id, run["parameters"], as_json=as_json)


def call_flow(module: str, run_id: str, parameters: dict[str, Any], *, as_json: bool) -> int:
    """Call the flow in this process and say what became of the run."""
    settings = Settings.from_env()
    ledger = open_ledger(settings.ledger_url)
    api_url = ensure_server(settings)
    _set_environment(PREFECT_API_URL=api_url, **prefect_environment(settings.home), **_quiet())
    from prefect import tags  # noqa: PLC0415 - late: its settings are read when it is imported

    flow = load_flow(module)
    parameters = fit_parameters(flow, parameters)
    ui = api_url.removesuffix("/api")
    click.echo(f"Run {run_id} of {flow.name}; it is shown at {ui}/runs", err=True)
    done = threading.Event()
    watcher = threading.Thread(target=show_progress, args=(run_id, settings, done), daemon=True)
    watcher.start()
    try:
        with tags("by-hand"), _halting_on_interrupt(run_id, settings):
            state: Any = flow(**parameters, return_state=True)
    except KeyboardInterrupt:
        raise OvernightError(_record_interrupt(run_id, ledger)) from None
    except httpx.HTTPError as error:
        raise OvernightError(
            f"Prefect's server at {api_url} went away while run {run_id} worked ({error}). What was answered is kept:"
            f" `overnight continue {run_id}` goes on, and starts a server where none runs."
        ) from error
    finally:
        done.set()
        watcher.join()
    with ledger.reading() as connection:
        if find_run(connection, run_id) is None:
            if state.is_completed():
                # Nothing waited in its inbox.
                print_json({"run_id": None, "state": "empty"}) if as_json else click.echo(str(state.message))
                return 0
            raise OvernightError(f"The flow {flow.name} did not begin: {state.message}")
        run = get_run(connection, run_id)
    if warning := get_engine(settings).telemetry_warning:
        click.echo(f"Warning: {warning}", err=True)
    report = measure(run_id, ledger=ledger, place=settings.parts, now=time.time(), home=settings.home)
    # A fault that nobody foresaw leaves the run as it stood: Prefect's own line says what it was.
    reason = run["reason"] or (None if state.is_completed() else str(state.message))
    return tell(report, reason, as_json=as_json)


def _record_interrupt(run_id: str, ledger: Ledger) -> str:
    """What becomes of a run that was broken off, in one line."""
    with ledger.reading() as connection:
        run = find_run(connection, run_id)
    if run and run["state"] == RunState.BATCHED:
        return (
            f"Nobody waits for run {run_id} any more; its rows stay with the provider: `overnight continue {run_id}`."
        )
    line = f"Run {run_id} was interrupted. What was answered is kept: run the flow again, those rows are hits."
    ledger.write(lambda connection: set_state(connection, run_id, RunState.HALTED, line))
    return line


@contextlib.contextmanager
def _halting_on_interrupt(run_id: str, settings: Settings) -> Iterator[None]:
    """The first Ctrl-C ends the run after the calls in flight, which are paid for; the second ends it at once."""

    def halt(signum: int, frame: FrameType | None) -> None:
        context = get_engine(settings).context(run_id)
        if context.halted or not context.is_completing:
            signal.default_int_handler(signum, frame)
        click.echo("Stopping: calls in flight are waited for and recorded. Ctrl-C again stops at once.", err=True)
        context.halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))

    before = signal.signal(signal.SIGINT, halt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _quiet() -> dict[str, str]:
    """Prefect's log goes to its server; the terminal is for our own lines."""
    level = os.environ.get("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    return {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": level, "PREFECT_LOGGING_HANDLERS_CONSOLE_FLOW_RUNS_LEVEL": level}


def _set_environment(**values: object) -> None:
    """Set what is given for this process and those that it starts."""
    os.environ.update({name: str(value) for name, value in values.items() if value is not None})
