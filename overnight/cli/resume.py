"""Continuing a decided run: the flow run that waits in Prefect is resumed, or a new one is run by hand."""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID

import click
import httpx
import orjson

from overnight.approve import Answers, fill_form, find_answers
from overnight.cli.run import continue_flow
from overnight.cli.server import find_server, is_healthy, prefect_environment
from overnight.cli.telling import tell
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.queries import get_run, list_passes
from overnight.records import Release, RunState
from overnight.report.measure import measure
from overnight.settings import Settings

#: How long to wait for a worker to pick a resumed run up and finish it.
_FOLLOW_S = 180.0
#: How long a process that waits by hand may take to see that its run was resumed; it looks every two seconds.
_TAKES_UP_S = 15.0


def resume_run(run_id: str, release: Release, *, as_json: bool) -> int:
    """Continue a run whose decision is recorded; the exit code."""
    settings = Settings.from_env()
    ledger = open_ledger(settings.ledger_url)
    with ledger.reading() as connection:
        last = list_passes(connection, run_id)[-1]
    if wake_run(run_id, release, settings, ledger) and (last["deployed"] or _is_taken_up(run_id, ledger)):
        return _follow(run_id, settings, ledger, as_json=as_json)
    return continue_flow(run_id, as_json=as_json)


def wake_run(run_id: str, release: Release, settings: Settings, ledger: Ledger) -> bool:
    """Whether the run waited in Prefect and looks into the ledger now: it goes on, or rings for the next round."""
    with ledger.reading() as connection:
        last = list_passes(connection, run_id)[-1]
    api_url = os.environ.get("PREFECT_API_URL") or find_server(settings)
    if not api_url or not is_healthy(api_url):
        return False
    os.environ.update(prefect_environment(settings.home) | {"PREFECT_API_URL": api_url})
    return _resume_in_prefect(UUID(last["flow_run_id"]), find_answers(ledger, release))


def offer_held(run_id: str) -> int:
    """Have the run's flow offer what its review held back; its exit code."""
    os.environ["OVERNIGHT_OFFERS_HELD"] = "1"
    try:
        # What waits now is read next: its summary would only be in the way.
        return continue_flow(run_id, as_json=False)
    finally:
        del os.environ["OVERNIGHT_OFFERS_HELD"]


def _resume_in_prefect(flow_run_id: UUID, given: Answers) -> bool:
    """Whether the flow run waited in Prefect and is resumed now, or is on its way already."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - late: Prefect takes seconds
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - the same

    try:
        with get_client(sync_client=True) as client:
            return _resume(client, flow_run_id, given)
    except ObjectNotFound:
        return False
    except httpx.HTTPError as error:
        # The decision is recorded: whatever becomes of this, the run looks there first.
        click.echo(f"Prefect could not be told to go on with flow run {flow_run_id} ({error}).", err=True)
        return False


def _resume(client: Any, flow_run_id: UUID, given: Answers) -> bool:
    state = client.read_flow_run(flow_run_id).state
    if state is None or not state.is_paused():
        return state is not None and bool(state.is_scheduled() or state.is_pending())
    keys = state.state_details.run_input_keyset or {}
    form = orjson.loads(client.read_flow_run_input(flow_run_id, keys["schema"])) if keys else {"properties": {}}
    answer = client.resume_flow_run(flow_run_id, run_input=fill_form(given, form))
    return bool(answer.status.value == "ACCEPT")


def _is_taken_up(run_id: str, ledger: Ledger) -> bool:
    """Whether the process that waited beside somebody goes on: it may have been killed, and nothing takes its place."""
    deadline = time.monotonic() + _TAKES_UP_S
    while time.monotonic() < deadline:
        with ledger.reading() as connection:
            if get_run(connection, run_id)["state"] != RunState.WAITING:
                return True
        time.sleep(0.5)
    return False


def _follow(run_id: str, settings: Settings, ledger: Ledger, *, as_json: bool) -> int:
    click.echo("Prefect resumes the run; a worker picks it up within seconds.", err=True)
    deadline = time.monotonic() + _FOLLOW_S
    while time.monotonic() < deadline:
        with ledger.reading() as connection:
            run = get_run(connection, run_id)
        if run["state"] not in (RunState.WAITING, RunState.RUNNING):
            break
        time.sleep(0.5)
    else:
        click.echo("The run goes on; `overnight runs` shows it. Is a worker running (`overnight up`)?", err=True)
    report = measure(run_id, ledger=ledger, place=settings.parts, now=time.time(), home=settings.home)
    return tell(report, run["reason"], as_json=as_json)
