"""Trial 25: readers who read, readers who stamp, and readers who guess, at the same gate."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from scipy.stats import binom

from overnight.approve import Answers
from overnight.approve.bounds import count_catches
from overnight.approve.judge import judge
from overnight.ledger.draws import SEED, Draw, find_draw
from overnight.ledger.releases import find_prompt_of
from overnight.records import Release
from tests.conftest import House
from tests.trials.conftest import pick

#: How likely each calls a seed wrong, and a row.
_CAREFUL, _GUESSING, _STAMPING = (0.9, 0.0), (0.1, 0.1), (0.0, 0.0)
#: So rarely may chance alone make this trial fail.
_NO_LUCK = 1e-6


class Hall:
    """One draw of a release, read again and again by readers of one kind."""

    def __init__(self, house: House, n_seeds: int) -> None:
        self.house = house
        self.release = house.offer(400, n_seeds=n_seeds)
        with house.ledger.reading() as connection:
            draw = find_draw(connection, self.release.release_id)
            self.schema = orjson.loads(find_prompt_of(connection, self.release.release_id).schema)
        assert draw is not None
        self.draw: Draw = draw

    def read(self, reader: tuple[float, float], rng: random.Random) -> Answers:
        return read(self.release, self.draw, reader, rng)

    def count_let_through(self, reader: tuple[float, float], n: int) -> int:
        rng = random.Random(25)  # noqa: S311 - a reader, not a secret
        return sum(judge(self.release, self.read(reader, rng), self.draw, self.schema).is_read for _ in range(n))


def read(release: Release, draw: Draw, reader: tuple[float, float], rng: random.Random) -> Answers:
    """One reading."""
    seed, row = reader
    chances = {i.item: seed if draw.drawn[i.item].stratum == SEED else row for i in release.items}
    items: Any = {n: "wrong" if rng.random() < chance else "correct" for n, chance in chances.items()}
    return Answers(decision="release", reviewer="Ada", items=items)


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_a_careful_reader_is_let_through_and_others_are_not(
    house: House, n_seeds: int, say: Callable[[str], None]
) -> None:
    hall, n = Hall(house, n_seeds), pick(short=1_000, long=20_000)
    for name, reader in (("careful", _CAREFUL), ("guessing", _GUESSING), ("stamping", _STAMPING)):
        expected = _expect(reader, n_seeds)
        share = hall.count_let_through(reader, n) / n
        say(f"{n_seeds} seeds, {name}: {share:.2%} of {n:,} let through, {expected:.2%} expected")
        assert abs(share - expected) <= 4 * (expected * (1 - expected) / n) ** 0.5


def test_of_a_thousand_reviews_stampers_release_nothing_and_guessers_next_to_nothing(
    house: House, say: Callable[[str], None]
) -> None:
    """Through the ledger, as a reviewer's answers go: a release needs the seeds and the bound."""
    n, rng = pick(short=40, long=1_000), random.Random(25)  # noqa: S311 - a reader, not a secret
    released = dict.fromkeys((_CAREFUL, _GUESSING, _STAMPING), 0)
    for number in range(n):
        for kind, reader in enumerate(released):
            release = house.offer(60, run_id=f"night-{number}-{kind}", sink=f"file:{house.home}/{number}-{kind}.jsonl")
            with house.ledger.reading() as connection:
                draw = find_draw(connection, release.release_id)
            assert draw is not None
            released[reader] += house.submit(release, read(release, draw, reader, rng)).outcome == "approved"
    careful, guessing, stamping = (count / n for count in released.values())
    say(f"released of {n:,} reviews each: careful {careful:.2%}, guessing {guessing:.2%}, stamping {stamping:.2%}")
    assert stamping == 0
    # Let through by chance: no more, and of the careful no fewer, than the seeds alone would let a run of luck explain.
    assert binom.sf(round(guessing * n) - 1, n, _expect(_GUESSING)) > _NO_LUCK
    assert binom.cdf(round(careful * n), n, _expect(_CAREFUL)) > _NO_LUCK


def _expect(reader: tuple[float, float], n_seeds: int = 3) -> float:
    return float(binom.sf(count_catches(n_seeds) - 1, n_seeds, reader[0]))
