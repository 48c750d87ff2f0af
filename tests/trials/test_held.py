"""While another process holds the ledger, who reads it reads on and the run waits; then it goes on, nothing lost."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from overnight.ledger import Ledger
from tests.trials.conftest import C, pick
from tests.trials.record import Trial

#: A statement of the run's waits for 10 s at a time.
HELD_S = pick(short=1.5, long=60.0)
N_ROWS = 300


def why(home: Path, row: str) -> str:
    """What `overnight why` says of a row: its state."""
    command = [sys.executable, "-m", "overnight", "why", row, "--json"]
    environment = os.environ | {"OVERNIGHT_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["state"])


def count_answers(ledger_url: str) -> int:
    with closing(Ledger(ledger_url)) as ledger, ledger.reading() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM completions").scalar_one())


def test_a_run_waits_for_who_holds_the_ledger(trial: Trial, home: Path, say: Callable[[str], None]) -> None:
    trial, ledger_url = trial.over(N_ROWS), trial.orders.ledger_url
    process = trial.start()
    trial.wait_for_calls(N_ROWS // 4)
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None, timeout=60.0)) as other:
        other.execute("BEGIN IMMEDIATE")
        held_at, n_calls, n_answers = time.monotonic(), trial.count_calls(), count_answers(ledger_url)
        said = why(home, "r1")
        time.sleep(max(held_at + HELD_S - time.monotonic(), 0.0))
        assert count_answers(ledger_url) == n_answers
        n_meanwhile = trial.count_calls() - n_calls
        other.execute("ROLLBACK")
    held_s = time.monotonic() - held_at
    ended = process.wait()
    say(
        f"ledger held for {held_s:.1f} s: readers read, {n_meanwhile} calls meanwhile, then all {N_ROWS} rows in"
        f" {ended.seconds - held_s:.1f} s more, calls sent twice {trial.count_repeats()}"
    )
    assert (ended.code, ended.n_accepted, ended.why) == (0, N_ROWS, "")
    assert n_answers > 0
    assert said
    assert n_meanwhile <= C
    assert trial.count_repeats() == 0
