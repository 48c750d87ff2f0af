"""A year lived day by day: who is started when, who is killed, and what the trial itself writes down of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.fakes.provider import FakeProvider
from tests.trials.year import AGAIN_AT, BEGINS_AT, HOUR_S, READ_AT, Day, Source, name_night
from tests.trials.year_bench import open_bench
from tests.trials.year_books import check_books
from tests.trials.year_provider import Desk, Weather
from tests.trials.year_records import Told, World, describe_year, look, measure_ledger
from tests.trials.year_worker import Forge, Orders, Started

#: What may be spent of a night, and of one in which there is hardly any money.
CAP_USD, SMALL_CAP_USD = 5.0, 0.004
_HELD_S = 0.7
_SITTING_S = HOUR_S / 2
_BAD_SKIES = {"outage", "revoked", "unpaid"}
_PURGED_EVERY, _BRIEF_EVERY, _MOST_TRIES = 30, 6, 4


@dataclass
class Waiting:
    """A run that something is still to be done on, from a day on."""

    run_id: str
    step: str
    due: int
    orders: Orders


@dataclass
class Year:
    """A house and the world around it."""

    world: World
    weather: Weather
    desk: Desk
    forge: Forge
    source: Source
    orders: Orders
    started: float = field(default_factory=time.monotonic)
    waiting: list[Waiting] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    touched: set[str] = field(default_factory=set)
    n_sittings: int = 0
    #: Of the ledger, in bytes, after each day.
    sizes: list[int] = field(default_factory=list)

    def live(self, day: Day) -> None:
        """A night and its day; then the books."""
        self.counts["nights"] += 1
        self.counts[day.weather] += 1
        self.touched, self.n_sittings = set(), 0
        self.weather.day = self.desk.day = day.n
        self.weather.sky, self.weather.prices = day.weather, day.prices
        self.desk.is_away = "away" in day.habits
        self.source.edit()
        if "missed" not in day.habits:
            self._spend_night(day)
        self.weather.night = name_night(day.at(AGAIN_AT))
        for one in [one for one in self.waiting if one.due <= day.n]:
            self.waiting.remove(one)
            self._go_on(one, day)
        if "purged" in day.habits or (day.n and day.n % _PURGED_EVERY == 0):
            self._purge(day)
        check_books(self.world, sorted(self.touched))
        self.sizes.append(measure_ledger(self.world.ledger_url))

    def _spend_night(self, day: Day) -> None:
        at, later = day.at(BEGINS_AT), day.at(BEGINS_AT, later=True)
        self.weather.night = name_night(at)
        cap = SMALL_CAP_USD if day.weather == "capped" else CAP_USD
        self.world.caps[self.weather.night] = cap
        path = self.world.home / "sources" / f"{day.date}.csv"
        path.parent.mkdir(exist_ok=True)
        self.source.write(path)
        shift_s = HOUR_S * (("clock ahead" in day.habits) - ("clock back" in day.habits))
        orders = replace(
            self.orders, step="work", run_id=f"{day.date}", at=at, source=str(path), prompt=day.prompt,
            checks=day.checks, prices=day.prices, cap_usd=cap, shift_s=shift_s, sink=self._choose_sink(day),
            failpoint=day.name_point("killed") if "killed" in day.habits else "",
        )  # fmt: skip
        runs = [orders]
        if "two at once" in day.habits or later != at:
            # The hour that is there twice has its schedule begin twice.
            runs.append(replace(orders, run_id=f"{day.date}-b", at=later, failpoint="", sink=self._choose_sink(day)))
        for one in runs:
            decision = "reject" if "rejected" in day.habits else "hold" if "unread held" in day.habits else "release"
            self.world.runs[one.run_id] = Told(
                one.run_id, day.prompt, one.sink, dict(self.source.rows), len(self.source.bad), str(day.date), decision
            )
        if "locked" in day.habits:
            self.counts["locked"] += 1
            threading.Thread(target=self._hold_ledger).start()
        for one, said in zip(runs, self._finish(runs, day, again="killed again" in day.habits), strict=True):
            self._take(one, said, day)

    def _choose_sink(self, day: Day) -> str:
        return self.desk.url if day.dice.random() < 0.7 else f"file:{self.world.home / 'out.jsonl'}"

    def _finish(self, runs: list[Orders], day: Day, *, again: bool = False) -> list[dict[str, Any]]:
        """Side by side, each begun anew as often as it is killed."""
        started = [self.forge.start(one) for one in runs]
        return [self._see_through(one, process, day, again=again) for one, process in zip(runs, started, strict=True)]

    def _see_through(self, orders: Orders, process: Started, day: Day, *, again: bool) -> dict[str, Any]:
        self.touched.add(orders.run_id)
        for n in range(_MOST_TRIES):
            if (said := process.wait()) is not None:
                return said
            assert orders.failpoint or n == 0, "killed, and by nobody"
            self.counts["kills"] += 1
            self.world.kills[day.n] += 1
            orders = replace(orders, at=orders.at + 300, failpoint=day.name_point("killed") if again and n == 0 else "")
            process = self.forge.start(orders)
        raise AssertionError(f"{orders} has not come to an end")

    def _take(self, orders: Orders, said: dict[str, Any], day: Day) -> None:
        """What comes next of a run."""
        told = self.world.runs[orders.run_id]
        told.state = said["state"]
        self.counts[f"night {told.state}"] += 1
        if told.state == "waiting":
            due = day.n + (day.dice.randint(1, 4) if "left waiting" in day.habits else 0)
            expires = "expires" in day.habits and told.decision != "reject"
            sitting = replace(
                orders, step="sit", failpoint="", shift_s=0.0, delivers=not expires, decision=told.decision
            )
            self.waiting.append(Waiting(told.run_id, "sit", due, sitting))
        elif told.state == "halted" and day.dice.random() < 0.7:
            self.waiting.append(Waiting(told.run_id, "work", day.n + 1, replace(orders, failpoint="", shift_s=0.0)))

    def _go_on(self, one: Waiting, day: Day) -> None:
        if one.step == "work":
            self._work_again(one, day)
        else:
            self._sit(one, day)

    def _work_again(self, one: Waiting, day: Day) -> None:
        """In the morning, where the cause is gone."""
        if day.weather in _BAD_SKIES:
            self.waiting.append(replace(one, due=day.n + 1))
            return
        self.world.caps.setdefault(self.weather.night, CAP_USD)
        cap = self.world.caps[self.weather.night]
        orders = replace(one.orders, at=day.at(AGAIN_AT), prices=day.prices, cap_usd=cap)
        [said] = self._finish([orders], day)
        self.counts["continued"] += 1
        self._take(orders, said, day)

    def _sit(self, one: Waiting, day: Day) -> None:
        told = self.world.runs[one.run_id]
        self.n_sittings += 1
        is_killed = "killed delivering" in day.habits and self.n_sittings == 1
        orders = replace(
            one.orders, at=day.at(READ_AT) + self.n_sittings * 4 * _SITTING_S,
            failpoint=day.name_point("killed delivering") if is_killed else "", has_brief=day.n % _BRIEF_EVERY == 0,
        )  # fmt: skip
        [said] = self._finish([orders], day)
        told.state = said["state"]
        self.counts[f"day {told.state}"] += 1
        self.counts["refused when over"] += said.get("n_refused", 0)
        if said.get("approved"):
            # Nobody delivers it in time.
            self.waiting.append(Waiting(one.run_id, "sit", day.n + 2, replace(one.orders, delivers=True)))
        elif told.state == "halted":
            self.waiting.append(replace(one, due=day.n + 1))
        elif told.state == "released":
            self.counts["deliveries"] += said["n_rows"]
            self.world.in_file = (
                one.run_id if told.sink.startswith("file:") and "delivered" in said["states"] else self.world.in_file
            )

    def _purge(self, day: Day) -> None:
        at = day.at(READ_AT) + 12 * HOUR_S
        point = day.name_point("killed purging") if "killed purging" in day.habits else ""
        orders = replace(self.orders, step="clear", run_id="purge", at=at, failpoint=point)
        [said] = self._finish([orders], day)
        self.touched.discard("purge")
        self.counts["purges"] += 1
        self.counts["purged requests"] += said["requests"]

    def _hold_ledger(self) -> None:
        """Somebody else writes for a while."""
        begin = "BEGIN IMMEDIATE" if self.world.ledger_url.startswith("sqlite") else "LOCK TABLE meta"
        with look(self.world.ledger_url) as connection:
            connection.exec_driver_sql(begin)
            time.sleep(_HELD_S)

    def tell(self) -> str:
        """Its figures."""
        return describe_year(self.world, self.counts, self.sizes[-1], time.monotonic() - self.started)


@contextmanager
def open_year(home: Path, ledger_url: str, folder: Path, *, n_rows: int, seed: int, has_judge: bool) -> Iterator[Year]:
    """Everything a year needs, before its first day; without a judge no rule of a batch is asked about."""
    weather, results = Weather(seed), folder / "results"
    results.mkdir()
    with (
        FakeProvider(weather) as fake, Desk(seed) as desk, Forge.open(results) as forge,
        open_bench(str(folder / "bench")) if has_judge else nullcontext("") as bench,
    ):  # fmt: skip
        orders = Orders("", str(home), ledger_url, "", 0.0, fake.openai_base_url, bench=bench)
        world = World(home, ledger_url, weather.given, desk.posted)
        yield Year(world, weather, desk, forge, Source(n_rows, seed), orders)
