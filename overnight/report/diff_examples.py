"""Pairs to read: of each kind of change a few, the same ones every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa

from overnight.masking import Veil
from overnight.place import PartsPlace
from overnight.report.diff_columns import ACCEPTED, QUARANTINED, STATES, Row, get_row
from overnight.report.diff_pairs import Flags, Pairs, Places
from overnight.report.diff_said import Words
from overnight.report.understood import find_answers

#: Changes of one field's labels that examples are taken of.
_MOST_KINDS = 20
#: The kind of change that comes last: no label is another.
_WORDS = "other words"


@dataclass(frozen=True)
class Half:
    """What one side made of a row."""

    state: str
    output: dict[str, Any] | None
    failure_class: str | None
    reason: str | None
    #: "right" or "wrong", where people said so.
    said: str | None


@dataclass(frozen=True)
class Example:
    """One pair, with its texts."""

    row_id: str | None
    #: Why it is shown: what changed.
    kind: str
    input: dict[str, Any]
    a: Half
    b: Half
    #: The fields that both have and that differ.
    changed: tuple[str, ...]


def pick_examples(
    pairs: Pairs,
    words: Words,
    limit: int,
    *,
    shown: Flags,
    connection: sa.Connection,
    place: PartsPlace,
    show_private: bool,
) -> tuple[Example, ...]:
    """Pairs that changed: one of each kind in turn, the most frequent first; of each, those that people judged."""
    kinds = sorted(_find_kinds(pairs), key=lambda kind: (kind[0] == _WORDS, -len(kind[1]), kind[0]))
    orders = [[(name, at) for at in _order(places[shown[places]], limit, pairs, words)] for name, places in kinds]
    turns = (found for found in chain.from_iterable(zip_longest(*orders)) if found)
    chosen: dict[int, str] = {}
    for name, at in turns:
        chosen.setdefault(at, name)
    reader = _Reader(pairs, words, connection, place, show_private=show_private)
    return tuple(reader.read(at, name) for at, name in islice(chosen.items(), limit))


def _find_kinds(pairs: Pairs) -> Iterator[tuple[str, Places]]:
    a, b, both = pairs.states_a, pairs.states_b, pairs.both_accepted
    yield "accepted by A alone", np.flatnonzero((a == ACCEPTED) & (b == QUARANTINED))
    yield "accepted by B alone", np.flatnonzero((a == QUARANTINED) & (b == ACCEPTED))
    relabelled = np.zeros(len(pairs), bool)
    for name in pairs.same:
        if name in pairs.a.labels and name in pairs.b.labels:
            changed = both & ~pairs.same[name]
            relabelled |= changed
            yield from _find_changes(name, np.flatnonzero(changed), pairs)
    yield _WORDS, np.flatnonzero(both & ~pairs.is_same & ~relabelled)


def _find_changes(name: str, changed: Places, pairs: Pairs) -> Iterator[tuple[str, Places]]:
    """The most frequent changes of a label."""
    x, y = pairs.field_a(name)[changed], pairs.field_b(name)[changed]
    found, counts = np.unique(np.stack([x, y], axis=1), axis=0, return_counts=True)
    is_private = name in pairs.a.side.private | pairs.b.side.private
    for old, new in found[np.argsort(-counts, kind="stable")[:_MOST_KINDS]].tolist():
        then, now = (columns.labels[name].get(v, "?") for columns, v in ((pairs.a, old), (pairs.b, new)))
        told = f"{name} changed" if is_private else f"{name}: {then} -> {now}"
        yield told, changed[(x == old) & (y == new)]


def _order(places: Places, limit: int, pairs: Pairs, words: Words) -> list[int]:
    """Judged pairs first, then those that differ in most fields; then by a hash, the same on every day."""
    n_changed = np.zeros(len(places), int)
    for flags in pairs.same.values():
        n_changed += ~flags[places]
    judged = np.isin(places, list(words))
    order = np.lexsort((pairs.a.pairing[pairs.at_a[places]], -n_changed, ~judged))
    return [int(at) for at in places[order[:limit]]]


class _Reader:
    """Reads the texts of pairs."""

    def __init__(
        self, pairs: Pairs, words: Words, connection: sa.Connection, place: PartsPlace, *, show_private: bool
    ) -> None:
        self._pairs = pairs
        self._words = words
        self._connection = connection
        self._place = place
        self._private = frozenset() if show_private else pairs.a.side.private | pairs.b.side.private

    def read(self, at: int, kind: str) -> Example:
        """The pair at a place."""
        pairs, said = self._pairs, self._words.get(at, (None, None))
        a = get_row(pairs.a, int(pairs.at_a[at]), self._connection, self._place)
        b = get_row(pairs.b, int(pairs.at_b[at]), self._connection, self._place)
        given = orjson.loads(a.input)
        changed = tuple(n for n, flags in pairs.same.items() if pairs.both_accepted[at] and not flags[at])
        return Example(
            row_id=a.row_id or b.row_id,
            kind=kind,
            input=Veil(self._private, given).hide_input(given),
            a=self._make_half(a, given, said[0]),
            b=self._make_half(b, given, said[1]),
            changed=changed,
        )

    def _make_half(self, row: Row, given: dict[str, Any], said: str | None) -> Half:
        output = orjson.loads(row.output) if row.output else None
        # Where it was refused, its reason may quote the answer.
        keys = [row.key] if row.key and self._private else []
        answer = output or next(iter(find_answers(self._connection, keys).values()), None)
        veil = Veil(self._private, given, answer)
        return Half(
            STATES[row.state],
            veil.hide_output(output) if output else None,
            row.failure_class,
            veil.hide_text(row.reason) if row.reason else None,
            said,
        )
