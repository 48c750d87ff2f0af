"""Runs by hand, with all that stands around them: stopped by a signal, or killed at a named point, and run again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.processes import list_processes
from tests.acceptance.project import Project, finish, make_project
from tests.acceptance.tickets import answer_ticket
from tests.acceptance.waiting import wait_for
from tests.fakes.provider import FakeProvider, Scripted
from tests.trials.conftest import IS_LONG

#: Of the sample's tickets, those that are asked about.
N_ASKED = 22
SLOTS = 4
#: The points that only a flow comes by, and some of the others.
POINTS = [
    *("before-part:1", "before-part:2", "before-commit:10", "after-commit:12", "before-send:5"),
    *("after-send:15", "before-high-water:2", "before-completed", "before-checked", "after-offered"),
]

pytestmark = pytest.mark.skipif(not IS_LONG, reason="Each takes two runs by hand, and a run takes ten seconds.")


@contextmanager
def tickets(delay_s: float) -> Iterator[FakeProvider]:
    """A provider of its own: its address gives every request a key of its own."""

    def answer(body: dict[str, object]) -> Scripted:
        return Scripted(text=json.dumps(answer_ticket(body)), delay_s=delay_s)

    with FakeProvider(answer) as fake:
        yield fake


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project, and a server of Prefect's for it; nothing of it is left at the end."""
    project = make_project(tmp_path_factory.mktemp("by-hand"), openai_base_url="")
    url = project.environment["PREFECT_API_URL"]
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(httpx.URL(url).port)]
    with (project.folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=project.environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: server.poll() is not None or _is_healthy(url), "Prefect's server", timeout_s=60.0)
        yield project
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        left = list_processes(f"PREFECT_API_URL={url}")
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert left == {}


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def start(project: Project, fake: FakeProvider, home: Path, **settings: str) -> subprocess.Popen[str]:
    """A run over the sample, up to the gate."""
    sink = f"file:{project.folder}/out/{fake.port}.jsonl"
    options = ("--model", "openai:fake-model", "--concurrency", str(SLOTS), "--sink", sink, "--no-wait", "--json")
    settings |= {"OVERNIGHT_HOME": str(home), "OPENAI_BASE_URL": fake.openai_base_url}
    return project.start("run", "triage_tickets", *options, **settings)


def find_digest(home: Path) -> str:
    """Of the newest release."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger:
        [digest] = ledger.execute("SELECT hex(digest) FROM releases ORDER BY offered_at DESC").fetchone()
    return str(digest)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_records_what_is_in_flight_and_pays_for_nothing_twice(
    how: signal.Signals, served: Project, tmp_path: Path, say: Callable[[str], None]
) -> None:
    with tickets(1.0) as fake:
        process = start(served, fake, tmp_path)
        wait_for(lambda: len(fake.calls) > SLOTS, "the second round of calls")
        told_at = time.time()
        process.send_signal(how)
        stopped = finish(process)
        took_s, n_calls = time.time() - told_at, len(fake.calls)
        n_late = sum(call.time > told_at + 1.0 for call in fake.calls)
        again = finish(start(served, fake, tmp_path))
        asked = Counter(call.raw for call in fake.calls)
    say(
        f"{how.name} after {n_calls} of {N_ASKED} calls: none later than 1 s ({n_late}), ended in {took_s:.1f} s, calls"
        f" sent twice {asked.total() - len(asked)}"
    )
    assert stopped.code == 1, stopped.err
    assert stopped.summary["state"] == "halted"
    assert stopped.summary["accepted"] == n_calls < N_ASKED
    assert "Traceback" not in stopped.err
    assert n_late == 0
    assert took_s < 30.0
    assert (again.code, again.summary["state"], again.summary["accepted"]) == (0, "waiting", N_ASKED)
    assert again.summary["hits"] == n_calls
    assert set(asked.values()) == {1}


@pytest.fixture(scope="module")
def undisturbed(served: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeProvider, str]]:
    """A provider, and the digest of a release that nobody disturbed; another address would make another one."""
    with tickets(0.05) as fake:
        home = tmp_path_factory.mktemp("undisturbed")
        assert finish(start(served, fake, home)).code == 0
        yield fake, find_digest(home)


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_is_killed_at_a_point_comes_to_the_same_release(
    point: str,
    served: Project,
    undisturbed: tuple[FakeProvider, str],
    tmp_path: Path,
    say: Callable[[str], None],
) -> None:
    fake, digest = undisturbed
    n_before = len(fake.calls)
    assert finish(start(served, fake, tmp_path, OVERNIGHT_FAILPOINT=point)).code == -signal.SIGKILL
    again = finish(start(served, fake, tmp_path))
    n_repeats = len(fake.calls) - n_before - N_ASKED
    say(f"overnight run killed {point}: the same release, calls sent twice {n_repeats}")
    assert (again.code, again.summary["state"], again.summary["accepted"]) == (0, "waiting", N_ASKED)
    assert find_digest(tmp_path) == digest
    assert 0 <= n_repeats <= SLOTS
