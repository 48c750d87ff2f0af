"""Prefect: a server of the right version, the pool, a worker that is alive, and the deployments of prefect.yaml."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import yaml

from overnight.cli.doctor.asked import PrefectAsked
from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.cli.doctor.follower import look_at_follower
from overnight.cli.server import find_server, is_healthy
from overnight.records import Prompt
from overnight.settings import Settings

_PROJECT = Path("prefect.yaml")
_UP = "Start it: overnight up, or as a service (docs/operations.md)."
LET_IN = (
    "Set PREFECT_API_AUTH_STRING to USER:PASSWORD, as the server has it, in the environment: one that a profile of"
    " Prefect's keeps is not read here."
)


def find_api(settings: Settings) -> str | None:
    """The server that commands here would use."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        return named if is_healthy(named) else None
    return find_server(settings)


def look_at_prefect(settings: Settings, prompts: Sequence[Prompt] = ()) -> tuple[list[Finding], float | None]:
    """The server and what it is there for; and how far its clock is ahead, in seconds, where it tells the time."""
    api_url = find_api(settings)
    if api_url is None:
        named = os.environ.get("PREFECT_API_URL")
        if named:
            return [fail("server", f"PREFECT_API_URL is {named}, where no Prefect server answers", _UP)], None
        said = "none is running; `overnight run` starts one, schedules need one that stays"
        return [warn("server", said, _UP)], None
    asked = PrefectAsked(api_url)
    try:
        findings, ahead_s = _look(asked)
        return [*findings, *look_at_follower(asked, settings, prompts)], ahead_s
    except httpx.HTTPStatusError as error:
        return [_refused(api_url, error.response.status_code)], None
    except httpx.HTTPError as error:
        return [fail("server", f"{api_url} does not answer ({type(error).__name__})", _UP)], None
    finally:
        asked.close()


def _look(asked: PrefectAsked) -> tuple[list[Finding], float | None]:
    answer = asked.get("/admin/version")
    answer.raise_for_status()
    findings = [_judge_version(asked.url, answer)]
    for declared in list_pools():
        findings += _look_at_pool(asked, declared)
    findings += _look_at_deployments(asked)
    findings += _look_at_late(asked)
    return findings, _compare_clocks(answer)


def _judge_version(url: str, answer: httpx.Response) -> Finding:
    theirs, ours = str(answer.json()), version("prefect")
    if theirs == ours:
        return ok("server", f"Prefect {theirs} at {url.removesuffix('/api')}")
    said = f"Prefect {theirs} at {url.removesuffix('/api')}, and {ours} here"
    return warn("server", said, "Install the same version on both: they are tested together.")


def _refused(url: str, status: int) -> Finding:
    if status == httpx.codes.UNAUTHORIZED:
        said = f"{url} asks for a user and a password"
        return fail("server", said, LET_IN)
    return fail("server", f"{url} answers with status {status}", "See its log.")


def list_declared() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml, each with its way to its code; none where there is no file that can be read."""
    try:
        found = yaml.safe_load(_PROJECT.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []
    declared = found.get("deployments") if isinstance(found, dict) else None
    if not isinstance(declared, list):
        return []
    return [{"pull": found.get("pull")} | d for d in declared if isinstance(d, dict)]


def list_pools() -> list[str]:
    """The work pools that they name."""
    pools = (d.get("work_pool") for d in list_declared())
    return list(dict.fromkeys(str(p["name"]) for p in pools if isinstance(p, dict) and p.get("name")))


def _look_at_pool(asked: PrefectAsked, name: str) -> Iterator[Finding]:
    answer = asked.get(f"/work_pools/{name}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        yield fail(f"pool {name}", "is not there", f"Make it: prefect work-pool create {name} --type process")
        return
    answer.raise_for_status()
    pool = answer.json()
    if pool.get("is_paused"):
        yield fail(f"pool {name}", "is paused: nothing starts", f"Let it go on: prefect work-pool resume {name}")
    workers = asked.find(f"/work_pools/{name}/workers/filter") or []
    online = [worker["name"] for worker in workers if worker.get("status") == "ONLINE"]
    if online:
        yield ok(f"pool {name}", f"{len(online)} live workers: {', '.join(sorted(online))}")
    else:
        known = f" ({len(workers)} were there once)" if workers else ""
        remedy = f"Start one: overnight up, or prefect worker start --pool {name}"
        yield fail(f"pool {name}", f"no worker is alive{known}: scheduled runs wait for one", remedy)


def _look_at_deployments(asked: PrefectAsked) -> Iterator[Finding]:
    wanted = {(str(d.get("entrypoint")), str(d.get("name"))): d for d in list_declared()}
    if not wanted:
        yield warn("deployments", f"{_PROJECT} declares none here", "Go to a project's folder.")
        return
    deployed = {(d["entrypoint"], d["name"]): d for d in asked.list_deployments()}
    missing = [f"{entry.rpartition('.')[2]}/{name}" for entry, name in wanted if (entry, name) not in deployed]
    if missing:
        remedy = "Put them in place: overnight up, or prefect --no-prompt deploy --all"
        yield fail("deployments", f"not in place: {', '.join(missing)}", remedy)
    asleep = [at for at in wanted if at in deployed and _is_asleep(wanted[at], deployed[at])]
    if asleep:
        names = ", ".join(f"{entry.rpartition('.')[2]}/{name}" for entry, name in asleep)
        yield warn("schedules", f"paused, though prefect.yaml has them active: {names}", "Resume them in the UI.")
    if not missing:
        yield ok("deployments", f"{len(wanted)} in place")


def _is_asleep(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    declared = [s for s in wanted.get("schedules") or [] if isinstance(s, dict) and s.get("active", True)]
    active = [s for s in found.get("schedules") or [] if s.get("active")]
    return bool(declared) and (bool(found.get("paused")) or not active)


def _look_at_late(asked: PrefectAsked) -> Iterator[Finding]:
    late = asked.find("/flow_runs/count", flow_runs={"state": {"name": {"any_": ["Late"]}}})
    if late:
        yield warn("late runs", f"{late:,} flow runs wait for a worker", "See that a worker runs and has a free slot.")


def _compare_clocks(answer: httpx.Response) -> float | None:
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None
    return theirs - time.time()
