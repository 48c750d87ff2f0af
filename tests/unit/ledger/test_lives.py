from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from overnight.ledger import Ledger
from overnight.ledger.lives import find_last_pass, find_lost
from overnight.ledger.runs import end_pass, open_pass, set_state
from overnight.records import RunState
from tests.conftest import House


def _open(ledger: Ledger, run_id: str, worker_id: int | None, flow_run_id: str = "f1", now: float = 1.0) -> int:
    facts = {"flow": "sort", "parameters": {}, "deployed": True, "now": now, "worker_id": worker_id}
    return ledger.write(lambda c: open_pass(c, run_id=run_id, flow_run_id=flow_run_id, scheduled_at=0.5, **facts))  # type: ignore[arg-type]


def _list_lost(ledger: Ledger) -> list[tuple[str, bool]]:
    with ledger.reading() as connection:
        return [(lost.run_id, lost.is_certain) for lost in find_lost(connection)]


def test_a_run_whose_process_works_is_not_lost(house: House) -> None:
    with house.ledger.working(60.0) as worker:
        _open(house.ledger, "night-1", worker.worker_id)
        assert _list_lost(house.ledger) == []
    assert house.fetch("SELECT worker_id, scheduled_at FROM passes") == [(worker.worker_id, 0.5)]


def test_a_run_whose_process_let_go_of_its_lease_and_never_of_its_pass_is_lost(house: House) -> None:
    with house.ledger.working(60.0) as worker:
        pass_id = _open(house.ledger, "night-1", worker.worker_id)
    assert _list_lost(house.ledger) == [("night-1", False)]
    house.ledger.write(lambda c: end_pass(c, pass_id, 2.0))
    assert _list_lost(house.ledger) == []


def test_a_run_whose_process_was_killed_is_lost_at_once_and_beyond_doubt(house: House) -> None:
    code = f"""
        import os, signal
        from overnight.ledger import open_ledger
        from overnight.ledger.runs import open_pass
        ledger = open_ledger({house.ledger.url!r})
        worker = ledger.register(3600.0)
        ledger.write(lambda c: open_pass(c, run_id="night-1", flow="sort", parameters={{}}, flow_run_id="f1",
                                         deployed=True, now=1.0, worker_id=worker.worker_id))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert _list_lost(house.ledger) == [("night-1", True)]


@pytest.mark.parametrize("state", [s for s in RunState if s not in (RunState.RUNNING, RunState.BATCHED)])
def test_a_run_that_has_ended_or_waits_for_a_person_is_not_lost(house: House, state: RunState) -> None:
    with house.ledger.working(60.0) as worker:
        _open(house.ledger, "night-1", worker.worker_id)
    house.ledger.write(lambda c: set_state(c, "night-1", state))
    assert _list_lost(house.ledger) == []


def test_a_run_that_was_killed_before_it_was_suspended_is_lost_and_one_that_is_suspended_is_not(house: House) -> None:
    with house.ledger.working(60.0) as worker:
        pass_id = _open(house.ledger, "night-1", worker.worker_id)
    house.ledger.write(lambda c: set_state(c, "night-1", RunState.BATCHED))
    assert _list_lost(house.ledger) == [("night-1", False)]
    house.ledger.write(lambda c: end_pass(c, pass_id, 2.0))
    assert _list_lost(house.ledger) == []


def test_of_a_pass_without_a_lease_nobody_says_that_it_is_gone(house: House) -> None:
    _open(house.ledger, "night-1", None)
    assert _list_lost(house.ledger) == []


def test_the_newest_pass_of_a_run_counts_whichever_flow_run_asks(house: House) -> None:
    with house.ledger.working(60.0) as gone:
        _open(house.ledger, "night-1", gone.worker_id, "f1")
    with house.ledger.working(60.0) as worker:
        _open(house.ledger, "night-1", worker.worker_id, "f2", 2.0)
        assert _list_lost(house.ledger) == []
        with house.ledger.reading() as connection:
            last = find_last_pass(connection, "f1")
            assert find_last_pass(connection, "unknown") is None
        assert last is not None
        assert (last.flow_run_id, last.state, last.deployed, last.is_over) == ("f2", "running", True, False)
