"""An accelerated year: faults, kills, clock changes, people who wait; every night the books balance."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight.ledger import Ledger
from overnight.report.why import explain_row, render_row
from tests.trials.conftest import IS_LONG, pick
from tests.trials.year import plan_year
from tests.trials.year_books import check_books
from tests.trials.year_provider import GOOD, Posted
from tests.trials.year_records import World
from tests.trials.year_world import Year, open_year

SEED = int(os.environ.get("OVERNIGHT_TRIAL_SEED") or "2")
N_NIGHTS = int(os.environ.get("OVERNIGHT_TRIAL_NIGHTS") or pick(short=14, long=365))
N_ROWS = pick(short=40, long=80)
#: In the short form too the clocks change.
FIRST = pick(short=date(2025, 10, 20), long=date(2025, 9, 1))


@pytest.fixture
def year(ledger_url: str, home: Path, tmp_path: Path) -> Iterator[Year]:
    home.mkdir(exist_ok=True)
    with open_year(home, ledger_url, tmp_path, n_rows=N_ROWS, seed=SEED, has_judge=IS_LONG) as year:
        yield year


@pytest.mark.timeout(pick(short=300, long=3600))
@pytest.mark.parametrize("database", pick(short=["sqlite"], long=["sqlite", "postgres"]))
def test_the_books_of_a_year_balance_every_night(year: Year, say: Callable[[str], None], database: str) -> None:
    print(f"OVERNIGHT_TRIAL_SEED={SEED} lives the same year")  # noqa: T201 - to find a fault again
    for day in plan_year(N_NIGHTS, FIRST, SEED):
        year.live(day)
    say(f"a year, {database}, seed {SEED}: {year.tell()}")
    if IS_LONG:
        assert min(year.counts[what] for what in ("kills", "continued", "refused when over", "purged requests")) > 0
    check_traced(year.world)
    check_ledger(year)
    for name, spoil in SPOILT.items():
        check_noticed(name, spoil, year.world)


def check_traced(world: World) -> None:
    """What has left is explained: the newest rows with their words, the oldest with words or with its purge."""
    dice = random.Random(SEED)  # noqa: S311 - a trial's dice
    released = [told for told in world.runs.values() if told.state == "released"]
    n_purged = 0
    for told in [released[0], released[-1], *dice.choices(released, k=pick(short=2, long=20))]:
        row_id = dice.choice(list(told.rows))
        with closing(Ledger(world.ledger_url)) as ledger:
            try:
                explained = explain_row(row_id, run_id=told.run_id, ledger=ledger, place=world.home)
            except Exception as error:
                raise AssertionError(f"{row_id} of {told.run_id}: {error}") from error
        text = render_row(explained)
        n_purged += "purge" in text.lower()
        assert told.rows[row_id] in text or "purge" in text.lower(), text
    assert n_purged or not IS_LONG


def check_ledger(year: Year) -> None:
    """It opens, is whole, and its size in the second half of the year is that of the first, as it is purged."""
    with closing(Ledger(year.world.ledger_url)) as ledger, ledger.reading() as connection:
        if ledger.path:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("SELECT count(*) FROM claims").scalar_one() == 0
    half = len(year.sizes) // 2
    assert not IS_LONG or year.sizes[-1] < 2.5 * year.sizes[half]


def check_noticed(name: str, spoil: Callable[[World], World], world: World) -> None:
    """The books do not balance where one record says something else."""
    last = max(run_id for run_id, told in world.runs.items() if told.state == "released")
    check_books(world, [last])
    try:
        check_books(spoil(replace(world, keys=dict(world.keys))), [last])
    except AssertionError:
        return
    raise AssertionError(f"nobody noticed: {name}")


def _call_twice(world: World) -> World:
    good = next(given for given in reversed(world.given) if given.kind == GOOD)
    return replace(world, given=[*world.given, replace(good, call_id="call-x")])


def _charge_more(world: World) -> World:
    at = max(n for n, given in enumerate(world.given) if given.kind == GOOD)
    dearer = replace(world.given[at], usd=world.given[at].usd * 2)
    return replace(world, given=[*world.given[:at], dearer, *world.given[at + 1 :]])


def _spoil_last_run(world: World, **changes: Any) -> World:
    last = max(run_id for run_id, told in world.runs.items() if told.state == "released")
    return replace(world, runs=world.runs | {last: replace(world.runs[last], **changes)})


def _change_row(world: World) -> World:
    last = max(run_id for run_id, told in world.runs.items() if told.state == "released")
    rows = world.runs[last].rows
    return _spoil_last_run(world, rows=rows | {next(iter(rows)): "another text"})


def _hold_back(world: World) -> World:
    told = next(told for told in world.runs.values() if told.state == "released")
    return replace(world, runs=world.runs | {told.run_id: replace(told, state="rejected")})


def _edit_last(world: World) -> World:
    last = world.posted[-1]
    return replace(world, posted=[*world.posted[:-1], replace(last, body=last.body + b" ")])


def _bring_back(world: World) -> World:
    """A version of a row arrives after the one that was to replace it."""
    last = {orjson.loads(one.body)["row_id"]: one.body for one in world.posted}
    old = next(one.key for one in world.posted if last[orjson.loads(one.body)["row_id"]] != one.body)
    late = [one for one in world.posted if one.key == old]
    return replace(world, posted=[*(one for one in world.posted if one.key != old), *late])


#: What somebody might do to one of the records.
SPOILT: dict[str, Callable[[World], World]] = {
    "a call that the ledger does not know": _call_twice,
    "a call less at the provider": lambda world: replace(world, given=world.given[1:]),
    "a dearer call": _charge_more,
    "a lower cap": lambda world: replace(world, caps=dict.fromkeys(world.caps, 0.0)),
    "a row more in the source": lambda world: _spoil_last_run(world, n_bad=7),
    "another text in the source": _change_row,
    "a delivery lost": lambda world: replace(world, posted=[p for p in world.posted if p.key != world.posted[0].key]),
    "a delivery that nobody let out": lambda world: replace(world, posted=[*world.posted, Posted("key", b"{}", 0)]),
    "a delivery that was changed": _edit_last,
    "an outdated delivery that came last": _bring_back,
    "rows of a rejected run": _hold_back,
    "another run in the file": lambda world: replace(world, in_file="nobody's"),
}
