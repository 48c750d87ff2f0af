"""Drawing a round: rows at random, rows at risk, and seeds among them that nothing tells from rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.approve.history import History, find_history
from overnight.approve.offered import read_offered
from overnight.approve.reading import Reading
from overnight.approve.risk import rank_risk
from overnight.approve.seeds import (
    Make,
    Seed,
    find_known,
    is_seen,
    load_mutators,
    make_seeds,
    make_veiled,
    take_known,
)
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, Draw, DrawnItem, find_private, find_shown, record_draw
from overnight.ledger.readings import find_wrong_answers
from overnight.ledger.releases import find_prompt_of, get_release
from overnight.place import PartsPlace
from overnight.records import Answered, Release, ReviewItem

#: Rows that are shown for their risk, at most.
N_RISK = 10
#: Rows that are tried as the base of a seed: an answer that is empty lends itself to none.
_N_BASES = 200


@dataclass(frozen=True)
class _Pick:
    stratum: str
    position: int
    output: Any
    note: str | None = None


def open_round(
    release: Release, *, ledger: Ledger, place: PartsPlace, now: float, rng: random.Random | None = None
) -> Release:
    """
    The release with what is to be read in its present round; drawn now, where it has not been.

    Args:
        release: As it was offered.
        ledger: Where draws are kept: two who draw at once see the same.
        place: Where the parts are.
        now: Seconds since the epoch.
        rng: Who draws; by default what nobody can foresee.

    Raises:
        ReviewRefused: Its rows are not there any more, or lend themselves to no seed.
        PromptRefused: The prompt's own seeds do not work.
    """
    with ledger.reading() as connection:
        history = find_history(connection, release)
        if history.draw:
            return get_release(connection, release.release_id)
        draw = _draw(connection, release, history, place, rng or random.SystemRandom())
    ledger.write(lambda connection: record_draw(connection, release.release_id, draw, now))
    with ledger.reading() as connection:
        return get_release(connection, release.release_id)


def _draw(connection: sa.Connection, release: Release, history: History, place: PartsPlace, rng: random.Random) -> Draw:
    rows = read_offered(connection, release, place)
    prompt, private = find_prompt_of(connection, release.release_id), find_private(connection, release.release_id)
    schema = orjson.loads(prompt.schema)
    n_seeds = count_seeds(release)
    picks = _pick_rows(history, rows, schema, rng, most=max(1, len(rows) - n_seeds))
    shown, ever = {p.position for p in picks}, find_shown(connection, release.release_id)
    known = find_known(rows, find_wrong_answers(connection, prompt.name), set(range(len(rows))) - shown - ever)
    known = [seed for seed in known if is_seen(seed, rows[seed.base], private)] if private else known
    seeds = take_known(known, n_seeds, schema, rng)
    shown |= {seed.base for seed in seeds}
    making = partial(_make_seeds, rows, schema, release=release, prompt=prompt.name, shown=shown, ever=ever, rng=rng)
    seeds += making(make_veiled(make_seeds, private) if private else make_seeds, wanted=n_seeds - len(seeds))
    picks += [_Pick(SEED, s.base, s.output, s.how) for s in seeds]
    # Nothing of the order tells what an item is.
    rng.shuffle(picks)
    numbered = list(enumerate(picks, 1))
    items = tuple(_make_item(n, rows[p.position], p.output, schema) for n, p in numbered)
    drawn = {n: DrawnItem(n, p.stratum, p.position, p.note) for n, p in numbered}
    return Draw(len(history.answers), items, drawn, private)


def count_seeds(release: Release) -> int:
    """How many seeds a round has: of a very small release no more than rows stand beside them."""
    return min(release.policy.n_seeds or 1, max(1, release.n_rows // 2))


def _pick_rows(
    history: History, rows: Sequence[Answered], schema: Any, rng: random.Random, *, most: int
) -> list[_Pick]:
    """
    The rows of a round, so few that each seed can be made of another: a row shown twice would tell its seed.

    What does not fit is read in the next round.
    """
    reading = history.reading
    n_missing = 0 if reading.holds_unread else reading.count_missing()
    if reading.readers and not n_missing:
        again = _group_unconfirmed(reading)[:most]
        return [_Pick("again", p, reading.corrected.get(p, rows[p].output)) for p in again]
    # What was flagged by who missed seeds is drawn once more, for what it was drawn for.
    chosen: dict[int, tuple[str, str | None]] = {
        p: (stratum, "flagged before, by a reader who missed seeds") for p, stratum in history.flagged.items()
    }
    fresh = sorted(set(range(len(rows))) - reading.random - chosen.keys())
    chosen |= dict.fromkeys(rng.sample(fresh, min(n_missing, len(fresh))), ("random", None))
    if not reading.readers:
        risky = [(p, why) for p, why in rank_risk(rows, schema) if p not in chosen]
        chosen |= {p: ("risk", why) for p, why in risky[:N_RISK]}
    picks = [_Pick(stratum, p, reading.corrected.get(p, rows[p].output), why) for p, (stratum, why) in chosen.items()]
    return picks[:most]


def _group_unconfirmed(reading: Reading) -> list[int]:
    """Rows that somebody else has to read, of which the same people have read all: nobody has read but a part."""
    waiting = reading.find_unconfirmed()
    return [p for p in waiting if reading.readers[p] == reading.readers[waiting[0]]]


def _make_seeds(
    rows: Sequence[Answered],
    schema: Any,
    make: Make,
    *,
    release: Release,
    prompt: str,
    wanted: int,
    shown: set[int],
    ever: set[int],
    rng: random.Random,
) -> list[Seed]:
    """
    As many seeds as are wanted, each of a row that is not shown, and of one that never was, where there is any.

    Raises:
        ReviewRefused: The rows lend themselves to none.
    """
    everything = set(range(release.n_rows))
    bases: list[int] = []
    for tier in (everything - shown - ever, (everything - shown) & ever, shown):
        there = sorted(tier)
        bases += rng.sample(there, min(len(there), _N_BASES))
    mutators = load_mutators(prompt)
    seeds: list[Seed] = []
    while bases and len(seeds) < wanted:
        n = wanted - len(seeds)
        seeds += make(rows, bases[:n], schema, mutators, rng)
        del bases[:n]
    if len(seeds) < wanted:
        raise ReviewRefused(
            f"Of the rows of release {release.release_id} no answer can be made plainly wrong, so nobody can be seen to"
            f" read them. Write a way in prompts/{prompt}/seeds.py, and run the flow again."
        )
    return seeds


def _make_item(number: int, row: Answered, output: Any, schema: Any) -> ReviewItem:
    """What is read, the output in the order of its schema."""
    fields = [*schema["properties"], *(name for name in output if name not in schema["properties"])]
    return ReviewItem(number, row.row_id, dict(row.input), {name: output[name] for name in fields if name in output})
