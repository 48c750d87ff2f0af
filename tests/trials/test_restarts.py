"""
Two nights at once on two workers, a server that dies, a worker that is lost: nothing is lost or twice.

A minute's work of two cores: the short form has one night on one worker, and the server dies once.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, find_draw
from overnight.ledger.releases import find_release
from tests.acceptance.prefect_api import PrefectApi
from tests.acceptance.project import Project, make_project
from tests.acceptance.tickets import answer_ticket
from tests.acceptance.waiting import wait_for
from tests.conftest import House, make_settings
from tests.fakes.postgres import find_postgres
from tests.fakes.provider import FakeProvider
from tests.trials.books import check_books
from tests.trials.conftest import pick
from tests.trials.two_workers import Site

pytestmark = [
    pytest.mark.skipif(find_postgres() is None, reason="There is no Postgres on this machine."),
    pytest.mark.timeout(600),
]

NIGHTS = pick(short=("first",), long=("first", "second"))
#: Rows of each night, and how many of them both have.
N_ROWS = 24
N_SHARED = N_ROWS // 2
N_ALL = N_ROWS + (len(NIGHTS) - 1) * (N_ROWS - N_SHARED)
#: Calls in flight of one flow run.
C = 4
#: Whether the server dies once more while they wait.
DIES_AT_GATE = pick(short=False, long=True)
#: Prefect's SQLite, when both nights write at once, may be locked for a minute.
PATIENCE_S = 180.0
#: So many are answered before the provider stands still.
N_BEFORE = 6


@dataclass
class Held:
    """A provider that answers a few calls, and then keeps all waiting until it is let go."""

    asked: list[str] = field(default_factory=list)
    _go: threading.Event = field(default_factory=threading.Event)
    _waiting: Counter[str] = field(default_factory=Counter)

    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Of one ticket."""
        row = _find_row(body)
        self.asked.append(row)
        if len(self.asked) > N_BEFORE and not self._go.is_set():
            self._waiting[row] += 1
            try:
                while not self._go.is_set():  # noqa: ASYNC110 - it is set by another thread
                    await asyncio.sleep(0.02)
            finally:
                self._waiting[row] -= 1
        return answer_ticket(body)

    def is_full(self) -> bool:
        """Whether both nights have all their calls in flight."""
        return self._waiting.total() == len(NIGHTS) * C

    def let_go(self) -> None:
        """Answer from now on."""
        self._go.set()


def _find_row(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).partition("order no. ")[2].split()[0]


@dataclass(frozen=True)
class Nights:
    """Where the two nights are, and what they leave behind."""

    site: Site
    house: House
    provider: FakeProvider
    held: Held

    def start(self, name: str) -> str:
        """Have a worker begin a night; its flow run."""
        return self.site.api.start_run(f"triage-tickets/{name}", {})

    def is_full(self) -> bool:
        """Whether both have all their calls in flight: each is in the middle of its run."""
        return self.held.is_full()

    def read_out(self, name: str) -> list[str]:
        """The rows that left."""
        file = self.site.project.folder / f"out/{name}.jsonl"
        return [json.loads(line)["row_id"] for line in file.read_text().splitlines()] if file.exists() else []

    def find_verdicts(self, run_id: str) -> dict[int, str]:
        """Of a reader who finds every seed, and every row correct."""
        with self.house.ledger.reading() as connection:
            release = find_release(connection, run_id)
            assert release is not None
            draw = find_draw(connection, release.release_id)
        assert draw is not None
        return {n: "wrong" if drawn.stratum == SEED else "correct" for n, drawn in draw.drawn.items()}

    def count_attempts(self) -> Counter[str]:
        """The attempts in the ledger, by row, without those that are known never to have been sent."""
        found = self.house.fetch(
            "SELECT r.input FROM attempts AS a JOIN requests AS r ON r.request_key = a.request_key"
            " WHERE a.outcome IS NULL OR a.outcome <> 'unsent'"
        )
        return Counter(json.loads(given)["body"].partition("order no. ")[2].split()[0] for (given,) in found)

    def review_in_prefect(self, flow_run_id: str) -> None:
        """As the form sends it."""
        verdicts = self.find_verdicts(self.site.api.get_run_id(flow_run_id))
        form = {f"item_{n:02d}": verdict for n, verdict in verdicts.items()}
        assert self.site.api.resume(flow_run_id, {**form, "decision": "release", "reviewer": "Ada"}) == "ACCEPT"

    def review_by_command(self, flow_run_id: str) -> None:
        """By `overnight review`."""
        run_id = self.site.api.get_run_id(flow_run_id)
        items = {str(n): verdict for n, verdict in self.find_verdicts(run_id).items()}
        done = self.site.project.review(run_id, {"decision": "release", "items": items}, "Bo")
        assert done.code == 0, done.err


@pytest.fixture
def nights(tmp_path: Path, postgres_url: str) -> Iterator[Nights]:
    """Two deployments over sources that overlap, one pool, and two workers in it."""
    held, url = Held(), postgres_url
    with FakeProvider(held.answer) as provider, closing(Ledger(url)) as ledger:
        project = make_project(tmp_path, openai_base_url=provider.openai_base_url)
        project.environment.update({"OVERNIGHT_LEDGER_URL": url, "OVERNIGHT_CONCURRENCY": str(C)})
        _write_sources(project)
        site = Site(project, PrefectApi(project.environment["PREFECT_API_URL"]))
        try:
            site.start_server()
            site.make_pool()
            for name in NIGHTS:
                where = {"source": f"{name}.csv", "sink": f"file:out/{name}.jsonl"}
                site.deploy("triage_tickets", name, {"model": "openai:fake-model", **where})
            yield Nights(site, House(make_settings(tmp_path / "home", url), ledger), provider, held)
        finally:
            held.let_go()
            site.close()


def _list_rows() -> dict[str, range]:
    """The numbers of each night's rows."""
    return {name: range(first := n * (N_ROWS - N_SHARED), first + N_ROWS) for n, name in enumerate(NIGHTS)}


def _write_sources(project: Project) -> None:
    for name, rows in _list_rows().items():
        lines = [f'T-{i},Invoice {i},"Where is the invoice for order no. {i} ?"' for i in rows]
        (project.folder / f"{name}.csv").write_text("ticket_id,subject,body\n" + "\n".join(lines) + "\n")


def test_nights_outlive_a_lost_worker_and_a_server_that_dies_in_mid_run_and_at_the_gate(
    nights: Nights, say: Callable[[str], None]
) -> None:
    began, site, api = time.monotonic(), nights.site, nights.site.api
    flow_runs = [nights.start(name) for name in NIGHTS]
    for worker in NIGHTS:
        site.start_worker(worker)
    wait_for(nights.is_full, "the nights to be in mid-run", timeout_s=PATIENCE_S)

    lost, *others = flow_runs
    killed = site.kill_worker_of(lost)
    site.kill_server()
    site.start_server()
    nights.held.let_go()
    site.start_worker(killed)
    site.put_back(lost)
    for flow_run_id in flow_runs:
        api.wait_for_state(flow_run_id, "Suspended", timeout_s=PATIENCE_S)
        # A worker with a limit dies of a flow run that it is given again before it has seen its process end.
        site.wait_for_end(flow_run_id)

    if DIES_AT_GATE:
        site.kill_server()
        site.start_server()
    assert [api.get_state(flow_run_id) for flow_run_id in flow_runs] == ["Suspended"] * len(NIGHTS)
    assert [nights.read_out(name) for name in NIGHTS] == [[] for _ in NIGHTS]
    nights.review_in_prefect(lost)
    for other in others:
        nights.review_by_command(other)
    for flow_run_id in flow_runs:
        api.wait_for_state(flow_run_id, "Completed", timeout_s=PATIENCE_S)

    check_books(nights.house, N_ALL)
    for name, rows in _list_rows().items():
        assert sorted(nights.read_out(name)) == sorted(f"T-{i}" for i in rows)
    asked, attempts = Counter(nights.held.asked), nights.count_attempts()
    assert set(asked) == {str(i) for rows in _list_rows().values() for i in rows}
    # What was in flight in the lost process is asked once more, and nothing else is asked twice.
    assert asked.total() <= N_ALL + C
    assert max(asked.values()) <= 2
    # The ledger knows of each call; beyond them, of those that the lost process had opened and not sent.
    assert asked <= attempts
    assert attempts.total() <= asked.total() + C
    say(
        f"{len(NIGHTS)} nights of {N_ROWS} rows, {N_SHARED} shared, a worker and a server lost in mid-run:"
        f" {asked.total()} calls for {N_ALL} rows, {attempts.total()} attempts in the ledger,"
        f" {sum(map(len, map(nights.read_out, NIGHTS)))} rows left, each once;"
        f" {time.monotonic() - began:.0f} s"
    )
