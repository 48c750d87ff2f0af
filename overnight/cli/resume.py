"""Continuing a decided run: the flow run that waits in Prefect is resumed, or a new one is run by hand."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from overnight.approve import Answers, fill_form
from overnight.cli.run import continue_flow, tell
from overnight.cli.server import find_server, is_healthy, prefect_environment
from overnight.ledger import open_ledger
from overnight.ledger.queries import get_run, list_passes, summarize
from overnight.records import RunState
from overnight.settings import Settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

#: How long to wait for a worker to pick a resumed run up and finish it.
_FOLLOW_S = 180.0


def resume_run(run_id: str, given: Answers | None, *, as_json: bool) -> int:
    """Continue a run whose decision is recorded; the exit code."""
    settings = Settings.from_env()
    with open_ledger(settings.ledger_url).reading() as connection:
        last = list_passes(connection, run_id)[-1]
    api_url = os.environ.get("PREFECT_API_URL") or find_server(settings)
    if api_url and is_healthy(api_url):
        os.environ.update(prefect_environment(settings.home) | {"PREFECT_API_URL": api_url})
        if _resume_in_prefect(last["flow_run_id"], given):
            return _follow(run_id, as_json=as_json)
    return continue_flow(run_id, as_json=as_json)


def _resume_in_prefect(flow_run_id: str, given: Answers | None) -> bool:
    """Whether the flow run waited in Prefect and is resumed now."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - late: Prefect takes seconds
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - the same

    with get_client(sync_client=True) as client:
        try:
            flow_run = client.read_flow_run(UUID(flow_run_id))
        except ObjectNotFound:
            return False
        if given is None or not _is_waiting(flow_run):
            return False
        answer = client.resume_flow_run(flow_run.id, run_input=fill_form(given))
    return answer.status.value == "ACCEPT"


def _is_waiting(flow_run: FlowRun) -> bool:
    return flow_run.state is not None and flow_run.state.is_paused()


def _follow(run_id: str, *, as_json: bool) -> int:
    click.echo("Prefect resumes the run; a worker picks it up within seconds.", err=True)
    ledger = open_ledger(Settings.from_env().ledger_url)
    deadline = time.monotonic() + _FOLLOW_S
    run: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with ledger.reading() as connection:
            run = get_run(connection, run_id)
            summary = summarize(connection, run_id, time.time())
        if run["state"] not in (RunState.WAITING, RunState.RUNNING):
            return tell(summary, run["reason"], as_json=as_json)
        time.sleep(0.5)
    click.echo(
        "The run has not finished yet; `overnight runs` shows it. Is a worker running (`overnight up`)?", err=True
    )
    return tell(summary, None, as_json=as_json)
