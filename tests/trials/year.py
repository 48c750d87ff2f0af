"""The plan of a year, drawn from one number: what each night meets, and what the source holds then."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

HERE = ZoneInfo("Europe/Paris")
BEGINS_AT, READ_AT, AGAIN_AT = time(2, 30), time(9), time(10)
LABELS = ("red", "green", "blue")
WORDS = ["card", "transfer", "refund", "balance", "limit", "branch", "letter", "phone", "salary", "rent", "fee"]
HOUR_S = 3600.0

#: How many nights of a hundred meet what; each at least one of any year. An outage lasts two to four nights.
WEATHER = {"storm": 18, "hangs": 3, "outage": 2, "revoked": 2, "unpaid": 1, "capped": 3}
HABITS = {
    "missed": 3, "two at once": 4, "locked": 3, "clock ahead": 4, "clock back": 4, "new prompt": 3, "old prompt": 1,
    "new checks": 4, "rejected": 5, "unread held": 3, "left waiting": 12, "expires": 4, "away": 4,
    "killed": 20, "killed again": 6, "killed delivering": 12, "purged": 3, "killed purging": 1,
}  # fmt: skip
POINTS = {
    "killed": [
        "before-commit:{}", "after-commit:{}", "before-send:{}", "after-send:{}", "before-part", "after-offered",
    ],
    "killed delivering": [
        "before-consume", "after-consume", "before-deliver", "after-deliver", "after-settled", "before-commit:{}",
        "after-commit:{}",
    ],
    "killed purging": ["after-purged", "after-purged:2"],
}  # fmt: skip


@dataclass(frozen=True)
class Day:
    """A night and the day after it."""

    n: int
    date: date
    weather: str
    habits: frozenset[str]
    #: Which version of the prompt, and of its checks.
    prompt: int
    checks: int
    #: Of a million tokens, in and out.
    prices: tuple[float, float]
    dice: random.Random = field(compare=False)

    def at(self, when: time, *, later: bool = False) -> float:
        """A time of this day in Paris; of an hour that is there twice, the first or the later one."""
        return datetime.combine(self.date, when, HERE).replace(fold=int(later)).timestamp()

    @property
    def has_hour_twice(self) -> bool:
        return self.at(BEGINS_AT) != self.at(BEGINS_AT, later=True) and self.at(time(3)) - self.at(time(2)) > HOUR_S

    def name_point(self, kind: str) -> str:
        """Where a process is killed."""
        return self.dice.choice(POINTS[kind]).format(self.dice.randint(1, 6))


def name_night(at: float) -> str:
    """The scope of what is spent then: from noon to noon."""
    return f"night:{(datetime.fromtimestamp(at, HERE).replace(tzinfo=None) - timedelta(hours=12)).date()}"


def plan_year(n_nights: int, first: date, seed: int) -> list[Day]:
    """Every kind of night at least once, from the second night on."""
    dice = random.Random(seed)  # noqa: S311 - a trial's dice
    weather, habits = ["calm"] * n_nights, [set[str]() for _ in range(n_nights)]
    for kind, share in WEATHER.items():
        for n in _draw_days(n_nights, share, dice):
            lasts = dice.randint(2, 4) if kind == "outage" else 1
            weather[n : n + lasts] = [kind] * len(weather[n : n + lasts])
    for kind, share in HABITS.items():
        for n in _draw_days(n_nights, share, dice):
            habits[n].add(kind)
    return list(_follow(weather, habits, first, seed))


def _draw_days(n_nights: int, share: int, dice: random.Random) -> list[int]:
    # Not in the last days: what is begun then would have no end.
    return dice.sample(range(1, max(2, n_nights - 3)), max(1, round(n_nights * share / 100)))


def _follow(weather: Sequence[str], habits: Sequence[set[str]], first: date, seed: int) -> Iterator[Day]:
    prompt = checks = newest = 1
    for n, (sky, met) in enumerate(zip(weather, habits, strict=True)):
        prompt = max(1, prompt - 1) if "old prompt" in met else prompt
        if "new prompt" in met:
            prompt = newest = newest + 1
        checks += "new checks" in met
        prices = (2.5, 10.0) if n < len(weather) / 2 else (1.75, 14.0)
        dice = random.Random(f"{seed}-{n}")  # noqa: S311 - a trial's dice
        yield Day(n, first + timedelta(n), sky, frozenset(met), prompt, checks, prices, dice)


def answer_text(version: int, text: str) -> dict[str, str]:
    """What the model makes of a text under a version of the prompt: the trial knows it without asking."""
    number = hashlib.sha256(f"{version} {text}".encode()).digest()[0]
    return {"label": LABELS[number % len(LABELS)], "quote": text[:40]}


def is_wrong(version: int, text: str) -> bool:
    """Whether a reader finds the answer wrong: one in a hundred is."""
    return hashlib.sha256(f"wrong {version} {text}".encode()).digest()[0] < 3


class Source:
    """The rows of the project's source, edited day by day."""

    def __init__(self, n_rows: int, seed: int) -> None:
        self._dice = random.Random(f"source {seed}")  # noqa: S311 - a trial's dice
        self._n_made = 0
        self.rows: dict[str, str] = {}
        self.bad: list[tuple[str, str]] = []
        self._old: list[tuple[str, str]] = []
        self._add(n_rows)

    def edit(self) -> None:
        """One to five rows of a hundred changed, some of them back; some come, some go, some are bad."""
        dice, rows = self._dice, self.rows
        for row_id in dice.sample(list(rows), max(1, round(len(rows) * dice.uniform(0.01, 0.05)))):
            self._old.append((row_id, rows[row_id]))
            rows[row_id] = self._write(row_id)
        if dice.random() < 0.3:
            row_id, text = dice.choice(self._old)
            rows.update({row_id: text} if row_id in rows else {})
        for row_id in dice.sample(list(rows), n_gone := dice.randint(0, 2)):
            del rows[row_id]
        self._add(n_gone)
        twice = [(row_id, "once more") for row_id in dice.sample(list(rows), dice.randint(0, 1))]
        empty = [(f"empty{self._n_made}", "")] * dice.randint(0, 1)
        unnamed = [("", "nobody's")] * dice.randint(0, 1)
        self.bad = [*twice, *empty, *unnamed]

    def write(self, path: Path) -> None:
        """As a file; the bad rows last."""
        lines = [f"{row_id},{text}" for row_id, text in [*self.rows.items(), *self.bad]]
        path.write_text("\n".join(["id,body", *lines, ""]))

    def _add(self, n_rows: int) -> None:
        for _ in range(n_rows):
            self._n_made += 1
            row_id = f"r{self._n_made}"
            self.rows[row_id] = self._write(row_id)

    def _write(self, row_id: str) -> str:
        return f"{row_id} {' '.join(self._dice.choices(WORDS, k=5))} {self._dice.randrange(10**9)}"
