"""Wherever a run's process is killed, the run taken up again offers the same release; at most C calls were in vain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.trials.conftest import IS_LONG, C, pick
from tests.trials.crash_worker import Ended, Orders, Workshop
from tests.trials.record import Provider, Trial

N_ROWS = pick(short=40, long=600)
#: The points that a run without Prefect comes by, and at which time a process is killed there.
POINTS = [
    "before-commit:1",
    f"before-commit:{pick(short=8, long=25)}",
    f"after-commit:{pick(short=5, long=20)}",
    f"before-send:{pick(short=20, long=300)}",
    f"after-send:{pick(short=30, long=500)}",
    # Of the input, and of the completed rows.
    "before-part:1",
    f"before-part:{pick(short=2, long=4)}",
]
#: Beside a file alone.
OF_SQLITE = ["before-high-water:1", "before-high-water:2"]
CASES = [
    *(("sqlite", point) for point in [*POINTS, *OF_SQLITE]),
    *(("postgres", point) for point in (POINTS if IS_LONG else POINTS[1:2])),
]


@pytest.fixture(scope="session")
def undisturbed(
    workshop: Workshop, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Orders, Ended]:
    """A run that nobody disturbed: its orders and its end."""
    home = tmp_path_factory.mktemp("undisturbed")
    orders = Orders(
        str(home), f"sqlite:///{home}/ledger.sqlite", provider.endpoint, f"file:{home}/out.jsonl", N_ROWS, C
    )
    ended = workshop.start(orders).wait()
    assert (ended.code, ended.why, len(ended.digest)) == (0, "", 64)
    return orders, ended


@pytest.mark.parametrize(("database", "point"), CASES)
def test_a_run_that_is_killed_at_a_point_offers_the_same_release(
    point: str, trial: Trial, undisturbed: tuple[Orders, Ended], say: Callable[[str], None]
) -> None:
    trial = replace(trial, orders=replace(trial.orders, sink=undisturbed[0].sink)).over(N_ROWS)
    assert trial.work(failpoint=point).code == -9
    n_killed, again = trial.count_calls(), trial.work()
    say(
        f"{trial.orders.ledger_url.partition(':')[0]}: killed {point} after {n_killed} calls: the same release, calls"
        f" sent twice {trial.count_repeats()}"
    )
    assert (again.code, again.n_accepted, again.why) == (0, N_ROWS, "")
    assert again.digest == undisturbed[1].digest
    assert len(set(trial.list_called())) == N_ROWS
    assert trial.count_repeats() <= C
