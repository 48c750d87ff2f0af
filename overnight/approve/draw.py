"""Drawing a round: rows at random, rows at risk, and seeds among them that nothing tells from rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.approve.history import History, find_history
from overnight.approve.offered import read_offered
from overnight.approve.reading import Reading
from overnight.approve.risk import rank_risk
from overnight.approve.seeds import load_mutators, make_seeds
from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, Draw, DrawnItem, find_shown, record_draw
from overnight.ledger.releases import find_prompt_of, get_release
from overnight.records import Answered, Release, ReviewItem

#: Rows that are shown for their risk, at most.
N_RISK = 10


@dataclass(frozen=True)
class _Pick:
    stratum: str
    position: int
    output: Any
    note: str | None = None


def open_round(
    release: Release, *, ledger: Ledger, home: Path, now: float, rng: random.Random | None = None
) -> Release:
    """
    The release with what is to be read in its present round; drawn now, where it has not been.

    Args:
        release: As it was offered.
        ledger: Where draws are kept: two who draw at once see the same.
        home: Where the parts are.
        now: Seconds since the epoch.
        rng: Who draws; by default what nobody can foresee.

    Raises:
        ReviewRefused: Its rows are not there any more.
        PromptRefused: The prompt's own seeds do not work.
    """
    with ledger.reading() as connection:
        history = find_history(connection, release)
        if history.draw:
            return get_release(connection, release.release_id)
        draw = _draw(connection, release, history, home, rng or random.SystemRandom())
    ledger.write(lambda connection: record_draw(connection, release.release_id, draw, now))
    with ledger.reading() as connection:
        return get_release(connection, release.release_id)


def _draw(connection: sa.Connection, release: Release, history: History, home: Path, rng: random.Random) -> Draw:
    rows = read_offered(connection, release, home)
    prompt = find_prompt_of(connection, release.release_id)
    schema = orjson.loads(prompt.schema)
    picks = _pick_rows(history.reading, rows, schema, rng)
    shown = {p.position for p in picks}
    bases = _pick_bases(release, shown, find_shown(connection, release.release_id), rng)
    seeds = make_seeds(rows, bases, schema, load_mutators(prompt.name), rng)
    picks += [_Pick(SEED, s.base, s.output, s.how) for s in seeds]
    # Nothing of the order tells what an item is.
    rng.shuffle(picks)
    numbered = list(enumerate(picks, 1))
    items = tuple(_make_item(n, rows[p.position], p.output, schema) for n, p in numbered)
    drawn = {n: DrawnItem(n, p.stratum, p.position, p.note) for n, p in numbered}
    return Draw(len(history.answers), items, drawn)


def _pick_rows(reading: Reading, rows: Sequence[Answered], schema: Any, rng: random.Random) -> list[_Pick]:
    n_missing = reading.count_missing()
    if reading.readers and not n_missing:
        again = reading.find_unconfirmed()
        return [_Pick("again", p, reading.corrected.get(p, rows[p].output)) for p in again]
    at_random = rng.sample(sorted(set(range(len(rows))) - reading.random), n_missing)
    picks = [_Pick("random", p, reading.corrected.get(p, rows[p].output)) for p in at_random]
    if not reading.readers:
        chosen = set(at_random)
        risky = [(p, why) for p, why in rank_risk(rows, schema) if p not in chosen]
        picks += [_Pick("risk", p, rows[p].output, why) for p, why in risky[:N_RISK]]
    return picks


def _pick_bases(release: Release, shown: set[int], ever_shown: set[int], rng: random.Random) -> list[int]:
    """The rows that seeds are made of: such as were never shown, where there are any: one seen twice would tell."""
    n_seeds = min(release.policy.n_seeds or 0, release.n_rows)
    bases: list[int] = []
    everything = set(range(release.n_rows))
    for tier in (everything - shown - ever_shown, (everything - shown) & ever_shown, shown):
        bases += _sample(tier, n_seeds - len(bases), rng)
    return bases


def _sample(positions: Iterable[int], n: int, rng: random.Random) -> list[int]:
    there = sorted(positions)
    return rng.sample(there, min(n, len(there)))


def _make_item(number: int, row: Answered, output: Any, schema: Any) -> ReviewItem:
    """What is read, the output in the order of its schema."""
    fields = [*schema["properties"], *(name for name in output if name not in schema["properties"])]
    return ReviewItem(number, row.row_id, row.input, {name: output[name] for name in fields if name in output})
