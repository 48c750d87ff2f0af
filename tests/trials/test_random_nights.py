"""Nights of which any call may go wrong in any way, halted at any call and continued: every row is accounted for."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from overnight.complete.course import MAX_REPAIRS
from overnight.taxonomy import MAX_ATTEMPTS, MAX_PASSES
from tests.fakes.provider import Scripted
from tests.trials.books import check_books, count_outcomes
from tests.trials.conftest import pick
from tests.trials.night import Ended, Night
from tests.trials.scripts import GOOD, Script

N_ROWS = pick(short=50, long=200)
N_HALTS = 4
#: A row's first answers; what comes after them is good.
MOST_FAULTS = 5
FAULTS = [
    Scripted(status=429),
    Scripted(status=500),
    Scripted(status=503, headers={"retry-after": "0"}),
    Scripted(drop=True),
    Scripted(cut_at=20),
    Scripted(text="no JSON"),
    Scripted(text='{"label":"purple","quote":""}'),
    Scripted(finish_reason="length"),
    Scripted(refusal="I would rather not."),
    Scripted(finish_reason="content_filter"),
]
HALT = Scripted(status=401, text="The key was revoked.")


class Chance:
    """What each row is answered in turn, and at which calls the key is found revoked."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - chance is no secret
        self._faults = {
            f"r{n}": dice.choices(FAULTS, k=dice.randrange(MOST_FAULTS)) if dice.random() < 0.5 else []
            for n in range(1, N_ROWS + 1)
        }
        self._halts = set(dice.sample(range(1, 2 * N_ROWS), N_HALTS))
        self.n_halts = 0

    def __call__(self, n: int, row: str) -> Scripted:
        if n in self._halts:
            self.n_halts += 1
            return HALT
        left = self._faults[row]
        return left.pop(0) if left else GOOD


@pytest.mark.parametrize("seed", range(pick(short=1, long=20)))
def test_every_row_is_accounted_for_and_asked_no_more_than_it_may(
    open_night: Callable[..., Night], script: Script, say: Callable[[str], None], seed: int
) -> None:
    script.decide = chance = Chance(seed)
    night = open_night(["some words"] * N_ROWS, model="openai:gpt-4o", retry_base_s=0.0, concurrency=8)
    ended, known, n_nights = night.work(), dict[str, str](), 1
    check(night, ended, known)
    # Halted, or with rows that have had all passes of a night.
    while ended.n_pending:
        with night.continued() as again:
            ended = again.work()
            check(again, ended, known)
        n_nights += 1
        assert n_nights <= 3 + N_HALTS
    say(
        f"random night {seed}: {N_ROWS} rows, {len(script.given)} calls, {chance.n_halts} halts, {n_nights} nights,"
        f" accepted {ended.n_accepted}, quarantined {ended.n_quarantined}, {count_outcomes(night.house)}"
    )
    assert ended.why == ""
    asked = Counter(given.row for given in script.given if given.scripted.status != HALT.status)
    assert max(asked.values()) <= MAX_ATTEMPTS * MAX_PASSES + MAX_REPAIRS
    n_calls = len(script.given)
    with night.continued() as again:
        check(again, again.work(), known)
    assert len(script.given) == n_calls


def check(night: Night, ended: Ended, known: dict[str, str]) -> None:
    """No row is missing, no answer changes, and none is asked for again."""
    rows = night.read_rows(ended)
    assert sorted(row["row_id"] for row in rows) == sorted(f"r{n}" for n in range(1, N_ROWS + 1))
    states = Counter(row["state"] for row in rows)
    assert (states["accepted"], states["quarantined"], states["pending"]) == ended.states
    assert sum(ended.states) == N_ROWS
    answers = {row["row_id"]: row["output"] for row in rows if row["state"] == "accepted"}
    assert {row: answers.get(row) for row in known} == known
    known.update(answers)
    assert bool(ended.n_pending) or not ended.why
    check_books(night.house, ended.n_accepted)
    [(n_open,)] = night.house.fetch("SELECT count(*) FROM attempts WHERE outcome = 'open'")
    assert n_open == 0
