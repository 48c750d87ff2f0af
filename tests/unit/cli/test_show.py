from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from overnight.ledger.runs import set_state
from overnight.records import BatchState, RunState
from tests.conftest import RUN, House
from tests.fakes.with_provider import record_batch
from tests.unit.cli.conftest import Cli


def test_without_runs_the_list_says_how_to_make_one(cli: Cli) -> None:
    code, out, _ = cli("runs")
    assert (code, out) == (0, "There are no runs yet. `overnight run FLOW` makes one.\n")
    assert json.loads(cli("runs", "--json")[1]) == []


def test_runs_are_listed_newest_first_each_with_its_reason(cli: Cli, house: House) -> None:
    house.begin("night-1")
    house.ledger.write(lambda c: set_state(c, "night-1", RunState.HALTED, "no key"))
    house.begin("night-2")
    house.tamper("UPDATE runs SET started_at = 2.0 WHERE run_id = 'night-2'")
    _, out, _ = cli("runs")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["night-2", "running"],
        ["night-1", "halted"],
        ["no", "key"],
    ]
    assert len(cli("runs", "--limit", "1")[1].splitlines()) == 1


def test_a_retry_is_listed_with_the_run_whose_rows_it_asks_again(cli: Cli, house: House) -> None:
    house.begin("night-1")
    house.begin("retry-1", retries="night-1", now=2.0)
    _, out, _ = cli("runs")
    assert "sort, retry of night-1: 0 rows" in out.splitlines()[0]
    assert "retry of" not in out.splitlines()[1]


def test_runs_as_json_are_one_value_and_nothing_else(cli: Cli, house: House) -> None:
    house.offer(2)
    _, out, err = cli("runs", "--json")
    [run] = json.loads(out)
    assert (run["run_id"], run["state"], run["flow"], run["release"]) == (
        RUN,
        "running",
        "sort",
        f"{RUN}-{run['release'][-8:]}",
    )
    assert err == ""


def test_a_run_whose_process_is_gone_says_so(cli: Cli, house: House) -> None:
    with house.ledger.working(60.0) as worker:
        house.begin()
        house.tamper(f"UPDATE passes SET worker_id = {worker.worker_id:d}")  # noqa: S608 - a number
        assert json.loads(cli("runs", "--json")[1])[0]["lost"] is False
    [run] = json.loads(cli("runs", "--json")[1])
    assert (run["state"], run["lost"]) == ("running", True)
    assert f"Its process is gone: `overnight continue {RUN}` goes on" in cli("runs")[1]


@pytest.mark.parametrize(
    ("deployed", "state", "said"),
    [
        (True, BatchState.SUBMITTED, "It is resumed by itself when they have ended."),
        (
            True,
            BatchState.ENDED,
            "All of its provider batches have ended: it is resumed by itself within five minutes.",
        ),
        (False, BatchState.ENDED, f"All of its provider batches have ended: `overnight continue {RUN}`."),
        (False, BatchState.SUBMITTED, None),
        (False, BatchState.UNSENT, None),
    ],
)
def test_a_batched_run_says_who_goes_on_with_it_and_not_what_was_out_before(
    cli: Cli, house: House, deployed: bool, state: BatchState, said: str | None
) -> None:
    house.begin()
    house.tamper("UPDATE passes SET ended_at = 2.0, deployed = :deployed", deployed=deployed)
    house.ledger.write(lambda c: set_state(c, RUN, RunState.BATCHED, "With a provider: 4 requests."))
    record_batch(house.ledger, RUN, state)
    _, *below = cli("runs")[1].splitlines()
    is_here = state is BatchState.ENDED
    assert ("    With a provider: 4 requests." in below) is not is_here
    assert [line.strip() for line in below if "ended" in line] == ([said] if said else [])


def test_a_batched_run_whose_process_waits_beside_it_says_so(cli: Cli, house: House) -> None:
    with house.ledger.working(60.0) as worker:
        house.begin()
        house.tamper(f"UPDATE passes SET worker_id = {worker.worker_id:d}")  # noqa: S608 - a number
        house.ledger.write(lambda c: set_state(c, RUN, RunState.BATCHED, "With a provider: 4 requests."))
        record_batch(house.ledger, RUN)
        assert "A process waits beside it, and goes on by itself." in cli("runs")[1]


def test_runs_are_listed_while_somebody_else_writes(cli: Cli, house: House) -> None:
    house.begin()
    with closing(sqlite3.connect(house.home / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        code, out, err = cli("runs")
    assert (code, err) == (0, "")
    assert out.startswith(RUN)
