"""What people said of the rows that two sides are compared over: which side they found right, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson
import sqlalchemy as sa

from overnight.ledger.comparing import Said as Word
from overnight.ledger.comparing import list_readings, list_verdicts
from overnight.report.diff_columns import Columns, Hashes, hash_fields
from overnight.report.diff_pairs import Pairs, Places

RIGHT, WRONG = "right", "wrong"


@dataclass(frozen=True)
class Tally:
    """How often people found a side right or wrong, and how often they said nothing of its answer."""

    right: int
    wrong: int
    unsaid: int


@dataclass(frozen=True)
class Said:
    """What people said: over the pairs of which they called one answer at least right or wrong."""

    n_pairs: int
    #: Of those, in reviews, and by readers of whole traces.
    n_verdicts: int
    n_readings: int
    a: Tally
    b: Tally


#: By the pair's place: what was said of A's answer and of B's.
Words = Mapping[int, tuple[str | None, str | None]]


@dataclass
class _Heard:
    """What was said of one side's answers, by the pair's place."""

    words: dict[int, str]
    #: The answer as it should be.
    corrections: dict[int, bytes]


def find_said(pairs: Pairs, connection: sa.Connection) -> tuple[Said, Words]:
    """
    Count it, and give it pair by pair.

    An answer that nobody judged is right where it is the one that somebody called right, or corrected the other to;
    where it merely differs from that, nothing is said of it.
    """
    verdicts, readings = _listen(pairs, connection, list_verdicts), _listen(pairs, connection, list_readings)
    # Who read the whole trace knew most: the reading counts where both spoke.
    a = _Heard(verdicts[0].words | readings[0].words, verdicts[0].corrections)
    b = _Heard(verdicts[1].words | readings[1].words, verdicts[1].corrections)
    words: dict[int, tuple[str | None, str | None]] = {}
    for at in sorted(a.words.keys() | b.words.keys()):
        of_a = a.words.get(at) or _conclude(at, b, pairs, pairs.a, pairs.at_a)
        of_b = b.words.get(at) or _conclude(at, a, pairs, pairs.b, pairs.at_b)
        words[at] = (of_a, of_b)
    said = Said(
        n_pairs=len(words),
        n_verdicts=len(verdicts[0].words.keys() | verdicts[1].words.keys()),
        n_readings=len(readings[0].words.keys() | readings[1].words.keys()),
        a=_count([of_a for of_a, _ in words.values()]),
        b=_count([of_b for _, of_b in words.values()]),
    )
    return said, words


def _conclude(at: int, other: _Heard, pairs: Pairs, columns: Columns, places: Places) -> str | None:
    """What a word on the other side's answer says of this one's."""
    if not pairs.both_accepted[at]:
        return None
    if pairs.is_same[at]:
        return other.words.get(at)
    correction = other.corrections.get(at)
    if correction is None:
        return None
    wanted = hash_fields(columns.side.fields, orjson.loads(correction))
    return RIGHT if all(int(columns.fields[n][places[at]]) == wanted[n] for n in wanted) else None


def _listen(pairs: Pairs, connection: sa.Connection, find: Callable[..., list[Word]]) -> tuple[_Heard, _Heard]:
    hashes = [columns.side.version.prompt_hash for columns in (pairs.a, pairs.b)]
    keys = [pairs.a.keys[pairs.at_a], pairs.b.keys[pairs.at_b]]
    first, second = (_hear(find(connection, h), k) for h, k in zip(hashes, keys, strict=True))
    return first, second


def _hear(spoken: list[Word], keys: Hashes) -> _Heard:
    heard = _Heard({}, {})
    if not spoken:
        return heard
    order = np.argsort(keys, kind="stable")
    for word in spoken:
        number = np.uint64(int(word.request_key[:16], 16))
        first, last = np.searchsorted(keys, number, "left", order), np.searchsorted(keys, number, "right", order)
        for at in map(int, order[first:last]):
            # The last word counts.
            heard.words.pop(at, None)
            heard.corrections.pop(at, None)
            if word.verdict != "unsure":
                heard.words[at] = RIGHT if word.verdict == "correct" else WRONG
            if word.correction:
                heard.corrections[at] = word.correction.encode()
    return heard


def _count(words: list[str | None]) -> Tally:
    return Tally(words.count(RIGHT), words.count(WRONG), words.count(None))
