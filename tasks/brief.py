"""The morning brief: a page for each run of the night, and one notice that leads to them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.logging import get_run_logger

from overnight import only_hosts
from overnight.failures import OvernightError
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.notices import record_told, was_told
from overnight.ledger.queries import list_runs
from overnight.notices import refuse_malformed, tell_people
from overnight.records import RunState
from overnight.report.brief import Brief, gather_brief, tell_morning, write_brief
from overnight.settings import Settings

#: Runs that began before are not of this night; one that still waits is told of in any brief.
_NIGHT_S = 24 * 3600.0
_N_RUNS = 200
_KIND = "brief"


@task(name="brief-runs")
def brief_runs() -> int:
    """Write the page of each run of the night, tell people once what came of all of them; how many runs there were."""
    settings = Settings.from_env()
    only_hosts.install(settings.only_hosts)
    refuse_malformed(settings.notify)
    ledger, now = open_ledger(settings.ledger_url), time.time()
    briefs = [
        gather_brief(run_id, ledger=ledger, place=settings.parts, now=now) for run_id in _find_untold(ledger, now=now)
    ]
    for brief in briefs:
        try:
            path = write_brief(brief, settings.home)
        except OvernightError as error:
            # People are told all the same where each run stands.
            get_run_logger().warning("%s", error)
            continue
        create_link_artifact(path.as_uri(), link_text=f"Brief of {brief.run_id}", key=f"brief-{brief.run_id}")
    if briefs:
        _tell(briefs, settings, ledger, now)
    return len(briefs)


def _find_untold(ledger: Ledger, *, now: float) -> list[str]:
    """The night's runs as they stand now, unless people were told just that."""
    with ledger.reading() as connection:
        runs = [run for run in list_runs(connection, _N_RUNS) if _is_of_night(connection, run, now)]
        ended = [run for run in runs if run["state"] != RunState.RUNNING]
        return [r["run_id"] for r in ended if not was_told(connection, r["run_id"], _KIND, r["state"])]


def _is_of_night(connection: sa.Connection, run: Mapping[str, Any], now: float) -> bool:
    """One whose rows a provider had that morning ends in another."""
    return run["started_at"] > now - _NIGHT_S or was_told(connection, run["run_id"], _KIND, RunState.BATCHED)


def _tell(briefs: Sequence[Brief], settings: Settings, ledger: Ledger, now: float) -> None:
    told = tell_people(tell_morning(briefs), settings.notify) if settings.notify else None
    for line in told.warnings if told else ():
        get_run_logger().warning("%s", line)
    if told is None or told.n_reached:
        ledger.write(lambda connection: _record(connection, briefs, now))


def _record(connection: sa.Connection, briefs: Sequence[Brief], now: float) -> None:
    for brief in briefs:
        record_told(connection, brief.run_id, _KIND, brief.state, now)
