"""Whenever its process is killed, a run goes on where it was: no answer lost, at most C calls made again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.trials.conftest import C, pick
from tests.trials.crash_worker import Process
from tests.trials.record import Trial, read_attempts

#: Of the time after which the next kill comes, a part that has nothing to do with the calls.
_JITTER_S = 0.02


def kill_sometime(process: Process, trial: Trial, n_left: int, n_kills_left: int, dice: random.Random) -> None:
    """Let it make some of the calls that are left, at the most its share of them, and kill it."""
    trial.wait_for_calls(trial.count_calls() + dice.randrange(n_left // (n_kills_left + 1) + 1))
    time.sleep(dice.random() * _JITTER_S)
    assert process.kill().code == -9


@pytest.mark.parametrize(
    ("database", "n_kills"), [("sqlite", pick(short=3, long=100)), ("postgres", pick(short=1, long=50))]
)
def test_a_run_that_is_killed_at_random_goes_on_where_it_was(
    database: str, n_kills: int, trial: Trial, say: Callable[[str], None]
) -> None:
    n_rows, dice = pick(short=300, long=6_000), random.Random(n_kills)  # noqa: S311 - the same kills each time
    trial, known, unrecorded = trial.over(n_rows), dict[str, tuple[object, ...]](), list[int]()
    for n_left in range(n_kills, 0, -1):
        n_at_start = trial.count_calls()
        kill_sometime(trial.start(), trial, n_rows - len(known), n_left, dice)
        found = trial.read_answers()
        # Not one that was there is missing, or another.
        assert found.items() >= known.items()
        called, known = trial.list_called()[n_at_start:], found
        assert len(called) == len(set(called))
        unrecorded.append(len(set(called) - known.keys()))
    ended = trial.work()

    found, n_repeats = trial.read_answers(), trial.count_repeats()
    say(
        f"{database}: {n_kills} random kills over {n_rows} rows at C = {C}: acknowledged answers lost 0, calls sent"
        f" twice {n_repeats} in all, at most {max(unrecorded)} a kill ({len(known)} of the rows were answered by the"
        f" last kill; the last process took {ended.seconds:.1f} s)"
    )
    assert (ended.code, ended.n_accepted, ended.n_pending, ended.why) == (0, n_rows, 0, "")
    assert found.items() >= known.items()
    assert len(found) == n_rows
    assert max(unrecorded) <= C
    assert n_repeats == sum(unrecorded)
    check_attempts(trial)


def check_attempts(trial: Trial) -> None:
    """Each call has its attempt, and each accepted answer is one that the provider gave to that row."""
    attempts, rows = read_attempts(trial.orders.ledger_url), trial.provider.list_rows()
    sent = Counter(trial.list_called())
    accepted = [(row, call) for row, outcome, call in attempts if outcome == "accepted"]
    assert len({row for row, _ in accepted}) == len(accepted) == len(sent)
    assert all(call is not None and rows[int(call.removeprefix("call-"))] == row for row, call in accepted)
    opened = Counter(row for row, outcome, _ in attempts if outcome != "unsent")
    assert all(opened[row] >= n for row, n in sent.items())
    assert {outcome for _, outcome, _ in attempts} <= {"accepted", "open", "unsent"}
