"""Batches on the worker processes of a Dask cluster, over one ledger in Postgres: what holds for one process holds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from overnight.complete import get_engine
from overnight.failures import CallFailed
from overnight.ledger import open_ledger
from overnight.ledger.spend import find_spend, run_scope
from overnight.settings import Settings
from overnight.taxonomy import FailureClass
from tests.fakes.postgres import Postgres
from tests.fakes.provider import FakeProvider, Scripted
from tests.flows.conftest import Ended, Project, server  # noqa: F401 - a fixture
from tests.trials.conftest import pick

# The first of them waits for a server, a database and two workers, each of which imports Prefect.
pytestmark = pytest.mark.timeout(pick(short=300, long=900))

distributed = pytest.importorskip("distributed", reason="The extra overnight[dask] is not installed.")

#: Two batches at least: each has 500 rows.
N_ROWS = pick(short=1_000, long=5_000)
#: Calls in flight of all processes together.
C = 8
N_WORKERS = 2
#: For a moment after a process joins, the others have not made room for it.
SLACK = C // N_WORKERS
DELAY_S = 0.02
SLOW = Scripted(delay_s=DELAY_S)
NO_KEY = Scripted(status=401, body={"error": {"message": "Incorrect API key"}})
#: About 0.0006 USD by the list price of gpt-4o.
DEAR = Scripted(usage={"prompt_tokens": 40, "completion_tokens": 50}, delay_s=DELAY_S)
#: How long a halt may take to be heard everywhere.
HEARD_S = 2.0


@dataclass(frozen=True)
class Farm:
    """A project whose batches go to a cluster."""

    cluster: Any
    project: Project
    arrived: list[float]

    def answer(self, decide: Callable[[int], Scripted]) -> None:
        """The provider's answers, by the number of the call from 0."""

        def answer(_: dict[str, Any]) -> Scripted:
            self.arrived.append(time.monotonic())
            return decide(len(self.arrived) - 1)

        self.project.fake.answer = answer

    def run(self, run_id: str, *, model: str = "openai:gpt-fake") -> Ended:
        from flows.route_banking_query import route_banking_query  # noqa: PLC0415 - imports Prefect

        sink = f"file:{self.project.out}"
        return self.project.call(run_id, route_banking_query, source="queries.csv", model=model, sink=sink)

    def find_most_in_flight(self) -> int:
        """Calls that were answered later than another one came, at the most."""
        at = self.arrived
        return max(sum(1 for other in at[max(n - 4 * C, 0) : n + 1] if other > t - DELAY_S) for n, t in enumerate(at))

    def kill_one(self) -> None:
        """One worker, as a power cut would."""
        os.kill(next(iter(self.cluster.workers.values())).pid, signal.SIGKILL)

    def fetch(self, query: str) -> Any:
        with open_ledger(Settings.from_env().ledger_url).reading() as connection:
            return connection.exec_driver_sql(query).all()


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, blank_postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two workers, each a process with its own environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("OVERNIGHT_")]:
            patch.delenv(name)
        patch.setenv("OVERNIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("OVERNIGHT_LEDGER_URL", postgres.make_database(blank_postgres))
        patch.setenv("OPENAI_API_KEY", "sk-fake-0123456789abcdef")
        with distributed.LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=4, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster:
            yield cluster


@pytest.fixture
def farm(
    server: None,  # noqa: F811 - the fixture
    cluster: Any,
    fake: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Farm:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    for name, value in {"DASK": cluster.scheduler_address, "CONCURRENCY": C, "RETRY_BASE_S": 0}.items():
        monkeypatch.setenv(f"OVERNIGHT_{name}", str(value))
    cluster.wait_for_workers(N_WORKERS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").symlink_to(Path(__file__).parents[2] / "prompts")
    # Rows of its own: what another test was answered is a hit.
    rows = "".join(f"{request.node.name} asks for the {n}. time\n" for n in range(N_ROWS))
    (tmp_path / "queries.csv").write_text(f"text\n{rows}")
    farm = Farm(cluster, Project(tmp_path, fake, monkeypatch), [])
    farm.answer(lambda _: SLOW)
    return farm


def count_askers(farm: Farm, run_id: str) -> int:
    """The processes that have asked for the run."""
    rows = farm.fetch(f"SELECT DISTINCT attempt_id >> 32 FROM attempts WHERE run_id = '{run_id}'")  # noqa: S608 - ours
    return len(rows)


def check_each_once(farm: Farm, run_id: str, ended: Ended) -> None:
    """All rows are accepted, each with one completion."""
    assert (ended.summary.state, ended.summary.accepted) == ("waiting", N_ROWS)
    query = (
        f"SELECT count(*), count(DISTINCT request_key) FROM attempts WHERE run_id = '{run_id}' AND outcome = 'accepted'"  # noqa: S608 - ours
    )
    assert farm.fetch(query) == [(N_ROWS, N_ROWS)]


def test_all_workers_ask_within_one_limit_and_what_they_made_is_found_by_the_next_run(
    farm: Farm, say: Callable[[str], None]
) -> None:
    ended = farm.run("machines-1")
    check_each_once(farm, "machines-1", ended)
    assert (len(farm.arrived), count_askers(farm, "machines-1")) == (N_ROWS, N_WORKERS)
    most = farm.find_most_in_flight()
    say(f"{N_WORKERS} workers, {N_ROWS} rows: at most {most} in flight where {C} may be")
    assert most <= C + SLACK
    again = farm.run("machines-2")
    assert (again.summary.state, len(farm.arrived)) == ("waiting", N_ROWS)
    names = again.list_task_runs(5)
    assert {name: state for name, state in names.items() if name.startswith("complete-batch")} == {
        "complete-batch-1": "Cached",
        "complete-batch-2": "Cached",
    }


def test_a_worker_that_is_killed_loses_no_row_and_its_calls_alone_are_made_twice(
    farm: Farm, say: Callable[[str], None]
) -> None:
    def decide(n: int) -> Scripted:
        if n == N_ROWS // 3:
            farm.kill_one()
        return SLOW

    farm.answer(decide)
    ended = farm.run("killed-1")
    check_each_once(farm, "killed-1", ended)
    say(f"a worker of {N_WORKERS} killed: {N_ROWS} rows, {len(farm.arrived)} calls, {C} in flight")
    assert N_ROWS <= len(farm.arrived) <= N_ROWS + C


def test_what_all_workers_spend_stays_under_the_cap(farm: Farm, say: Callable[[str], None]) -> None:
    farm.project.monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "0.2")
    farm.answer(lambda _: DEAR)
    ended = farm.run("capped-1", model="openai:gpt-4o")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "of the $0.200000 of run capped-1" in str(ended.state.message)
    assert "Raise --budget." in str(ended.state.message)
    with farm.project.ledger.reading() as connection:
        spend = find_spend(connection, [run_scope("capped-1")])[run_scope("capped-1")]
    say(f"a cap of $0.2 for {N_WORKERS} workers: ${spend.spent_usd:.4f} spent, {len(farm.arrived)} calls")
    assert 0.2 * 0.9 < spend.spent_usd <= 0.2
    assert spend.reserved_usd == pytest.approx(0)
    assert count_askers(farm, "capped-1") == N_WORKERS


def test_a_key_that_is_revoked_stops_all_workers(farm: Farm, say: Callable[[str], None]) -> None:
    n_good = N_ROWS // 4
    farm.answer(lambda n: SLOW if n < n_good else NO_KEY)
    ended = farm.run("revoked-1")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "Run revoked-1 halted: " in str(ended.state.message)
    assert "answered 401: Incorrect API key. Check the key" in str(ended.state.message)
    assert f"{N_ROWS - n_good:,} rows are left" in str(ended.state.message)
    say(f"a key revoked after {n_good} calls: {len(farm.arrived) - n_good} calls more of {N_WORKERS} workers")
    assert n_good < len(farm.arrived) <= n_good + C + SLACK
    farm.answer(lambda _: SLOW)
    check_each_once(farm, "revoked-1", farm.run("revoked-1"))


def test_the_same_bad_request_from_all_workers_blames_no_row(farm: Farm) -> None:
    farm.answer(lambda _: Scripted(status=400, body={"error": {"message": "no parameter temperature"}}))
    ended = farm.run("bad-1")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "5 rows failed with the same bad request" in str(ended.state.message)
    assert (ended.summary.quarantined, ended.summary.pending) == (0, N_ROWS)


def test_a_flow_that_is_stopped_stops_its_workers(farm: Farm, say: Callable[[str], None]) -> None:
    stopped: list[float] = []

    def decide(n: int) -> Scripted:
        if n == N_ROWS // 4:
            stopped.append(time.monotonic())
            halt = CallFailed(FailureClass.STOPPED, "It was stopped by hand.")
            get_engine(Settings.from_env()).context("stopped-1").halt(halt)
        return SLOW

    farm.answer(decide)
    ended = farm.run("stopped-1")
    assert (ended.name, ended.summary.state) == ("FAILED Halted", "halted")
    assert "It was stopped by hand." in str(ended.state.message)
    last_s = farm.arrived[-1] - stopped[0]
    say(f"stopped by hand: the last call of {N_WORKERS} workers came {last_s:.2f} s later")
    assert last_s <= HEARD_S
    assert ended.summary.accepted == len(farm.arrived) < N_ROWS


def test_a_scheduler_that_does_not_answer_halts_before_anything_is_read(farm: Farm) -> None:
    farm.project.monkeypatch.setenv("OVERNIGHT_DASK", "tcp://127.0.0.1:9")
    farm.project.monkeypatch.setattr("tasks.cluster._ANSWERS_S", 0.2)
    ended = farm.run("nowhere-1")
    assert (ended.name, ended.summary.state, ended.summary.rows) == ("FAILED Halted", "halted", 0)
    assert str(ended.state.message).startswith("No Dask cluster answers at tcp://127.0.0.1:9 (")
    assert "\n" not in str(ended.state.message)
    assert farm.arrived == []
