"""One project for all stories: a provider, a receiver, `overnight up`, and the end of all three."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.acceptance.prefect_api import PrefectApi
from tests.acceptance.processes import list_processes
from tests.acceptance.project import OVERNIGHT, SOURCE, Project, make_project, write_deployments, write_source
from tests.acceptance.receiver import Receiver
from tests.acceptance.site import N_DEPLOYED, TICKETS, Site
from tests.acceptance.tickets import answer_ticket
from tests.acceptance.waiting import wait_for
from tests.fakes.people import People
from tests.fakes.provider import FakeProvider

_CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A project with `overnight up` in it and a deployed run for each story; nothing of it is left at the end."""
    folder = tmp_path_factory.mktemp("project")
    with FakeProvider(answer_ticket) as provider, Receiver() as receiver, People() as people:
        project = make_project(folder, openai_base_url=provider.openai_base_url)
        project.environment["OVERNIGHT_NOTIFY"] = people.url
        write_source(project, N_DEPLOYED)
        write_deployments(project, {"source": SOURCE, "model": "openai:fake-model", "sink": "file:out/fired.jsonl"})
        api = PrefectApi(project.environment["PREFECT_API_URL"])
        process = _start_up(project, folder / "up.log")
        try:
            wait_for(lambda: process.poll() is not None or api.is_ready(9), "overnight up", timeout_s=100)
            assert process.poll() is None, (folder / "up.log").read_text()
            opened = Site(project, provider, receiver, people, api)
            opened.start_runs()
            yield opened
        finally:
            api.close()
            _end_up(process, project)


@pytest.fixture(autouse=True)
def _calm(site: Site) -> Iterator[None]:
    """Once the schedule has fired, it is paused: every few minutes is only for the first time."""
    yield
    if site.api.list_fired(TICKETS):
        site.api.pause_schedules(TICKETS)


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a headless browser."""
    if not _CHROMIUM.exists():
        pytest.skip(f"There is no browser at {_CHROMIUM}: no page was looked at.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        yield browser.new_page(viewport={"width": 1440, "height": 1000})
        browser.close()


def _start_up(project: Project, log: Path) -> subprocess.Popen[bytes]:
    """Start `overnight up` as in a terminal: Ctrl-C reaches it, even where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with log.open("wb") as file:
            return subprocess.Popen(
                [OVERNIGHT, "up"],
                cwd=project.folder,
                env=project.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
    finally:
        signal.signal(signal.SIGINT, before)


def _end_up(process: subprocess.Popen[bytes], project: Project) -> None:
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=60)
    left = list_processes(f"OVERNIGHT_HOME={project.environment['OVERNIGHT_HOME']}")
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert (code, left) == (0, {})
