"""An accelerated year: faults, kills, clock changes, people who wait; every night the books balance."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.trials.conftest import IS_LONG, pick
from tests.trials.year import plan_year
from tests.trials.year_books import World, check_books
from tests.trials.year_world import Year, open_year

SEED = int(os.environ.get("OVERNIGHT_TRIAL_SEED", "2"))
N_NIGHTS = pick(short=14, long=365)
N_ROWS = pick(short=40, long=150)
#: In the short form too the clocks change.
FIRST = pick(short=date(2025, 10, 20), long=date(2025, 9, 1))


@pytest.fixture
def year(ledger_url: str, home: Path, tmp_path: Path) -> Iterator[Year]:
    home.mkdir(exist_ok=True)
    with open_year(home, ledger_url, tmp_path, n_rows=N_ROWS, seed=SEED, has_judge=IS_LONG) as year:
        yield year


@pytest.mark.parametrize("database", pick(short=["sqlite"], long=["sqlite", "postgres"]))
def test_the_books_of_a_year_balance_every_night(year: Year, say: Callable[[str], None], database: str) -> None:
    print(f"seed {SEED}: OVERNIGHT_TRIAL_SEED={SEED} plays the same year")
    for day in plan_year(N_NIGHTS, FIRST, SEED):
        year.live(day)
    say(f"a year, {database}, seed {SEED}: {year.tell()}")
