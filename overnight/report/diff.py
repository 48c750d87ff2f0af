"""Two runs, prompts or models over the same rows: what changed, how sure that is, and what each took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.place import PartsPlace
from overnight.report.diff_columns import ACCEPTED, PENDING, QUARANTINED, Columns, read_columns
from overnight.report.diff_examples import Example, pick_examples
from overnight.report.diff_figures import Figures, measure_side
from overnight.report.diff_pairs import Flags, Pairs, pair_rows
from overnight.report.diff_said import Said, find_said
from overnight.report.diff_sides import Side, describe_side, find_sides
from overnight.report.under_review import find_keys_under_review, find_open_review, tell_withheld

#: Changes of labels that are listed, the most frequent first.
_MOST_CHANGES = 15
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Agreement:
    """How many of some pairs are the same, and Wilson's 95 % interval of their share."""

    n_same: int
    n: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LabelChange:
    """How often one label has become another."""

    field: str
    a: str
    b: str
    n: int


@dataclass(frozen=True)
class Outcomes:
    """The pairs by what became of the row on each side, and whether one side accepts more: McNemar's exact test."""

    both_accepted: int
    only_a: int
    only_b: int
    neither: int
    #: Of the null hypothesis that both accept alike; None where no pair differs.
    p_value: float | None
    #: Pairs of which one side is not answered yet; in none of the above.
    unanswered: int


@dataclass(frozen=True)
class Diff:
    """What a comparison comes to."""

    a: Side
    b: Side
    #: By which rows are paired: "row id and input" or "input".
    paired_by: str
    n_pairs: int
    n_only_a: int
    n_only_b: int
    #: Rows of both, whose inputs differ: not compared.
    n_other_input: int
    n_purged: int
    outcomes: Outcomes
    #: Over the pairs that both accept: all fields of both together, and each of them.
    whole: Agreement
    fields: dict[str, Agreement]
    #: Fields that one side alone has.
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    label_changes: tuple[LabelChange, ...]
    examples: tuple[Example, ...]
    #: Why some or all pairs are no examples: they are under review.
    withheld: str | None
    said: Said
    figures: tuple[Figures, Figures]


def compare(
    a: str,
    b: str,
    *,
    ledger: Ledger,
    place: PartsPlace,
    prompt_name: str | None = None,
    step: int | None = None,
    limit: int = 5,
    show_private: bool = False,
) -> Diff:
    """
    Compare two sides over the rows that both have; those that reviewers read now are counted, and are no examples.

    Args:
        a: A run's id, a prompt hash or its beginning, NAME@last, NAME@previous, or PROVIDER:NAME.
        b: The same.
        ledger: Where to look.
        place: Where the parts are.
        prompt_name: Where a model is named that has answered several prompts: which.
        step: Of runs; None: the last.
        limit: How many examples.
        show_private: Whether values that a prompt declares private stand in them.

    Raises:
        OvernightError: A name means nothing, or several things.
        PartRefused: A part of a run is missing or altered.
    """
    with ledger.reading() as connection:
        sides = find_sides(connection, a, b, prompt_name=prompt_name, step=step)
        by_id = all(side.run_id is not None for side in sides)
        first, second = (read_columns(side, by_id=by_id, connection=connection, place=place) for side in sides)
        pairs = pair_rows(first, second)
        outcomes = _count_outcomes(pairs)
        common = [name for name in first.side.fields if name in second.side.fields]
        changes = [change for name in common for change in _count_changes(name, pairs)]
        said, words = find_said(pairs, connection)
        shown, withheld = _find_shown(pairs, connection, place)
        return Diff(
            *sides,
            paired_by="row id and input" if by_id else "input",
            n_pairs=len(pairs),
            n_only_a=pairs.n_only_a,
            n_only_b=pairs.n_only_b,
            n_other_input=pairs.n_other_input,
            n_purged=first.n_purged + second.n_purged,
            outcomes=outcomes,
            whole=agree(int(pairs.is_same[pairs.both_accepted].sum()), outcomes.both_accepted),
            fields={n: agree(int(pairs.same[n][pairs.both_accepted].sum()), outcomes.both_accepted) for n in common},
            only_in_a=tuple(name for name in first.side.fields if name not in common),
            only_in_b=tuple(name for name in second.side.fields if name not in common),
            label_changes=_hide_labels(_take_most(changes), sides, show_private),
            examples=pick_examples(
                pairs, words, limit, shown=shown, connection=connection, place=place, show_private=show_private
            ),
            withheld=withheld,
            said=said,
            figures=(
                measure_side(first, pairs.at_a, describe_side(sides[0]), connection),
                measure_side(second, pairs.at_b, describe_side(sides[1]), connection),
            ),
        )


def _find_shown(pairs: Pairs, connection: sa.Connection, place: PartsPlace) -> tuple[Flags, str | None]:
    """Which pairs may be examples, and a line where some may not."""
    runs = [side.run_id for side in (pairs.a.side, pairs.b.side) if side.run_id]
    for run_id in runs:
        if offering := find_open_review(connection, run_id):
            return np.zeros(len(pairs), bool), tell_withheld(offering)
    keys = np.array([int(key[:16], 16) for key in find_keys_under_review(connection, place)], np.uint64)
    is_read = np.isin(pairs.a.keys[pairs.at_a], keys) | np.isin(pairs.b.keys[pairs.at_b], keys)
    n = int(is_read.sum())
    return ~is_read, f"Pairs that are under review, and are not shown until it has ended: {n:,}." if n else None


def agree(n_same: int, n: int) -> Agreement:
    """The share with its interval; None where there is nothing to go by."""
    if not n:
        return Agreement(0, 0, None, None, None)
    interval = _test(n_same, n).proportion_ci(CONFIDENCE, method="wilson")
    return Agreement(n_same, n, n_same / n, float(interval.low), float(interval.high))


def find_p_value(n_only_a: int, n_only_b: int) -> float | None:
    """McNemar's exact test: how likely so uneven a split of the pairs that differ is, if both sides are alike."""
    if not n_only_a + n_only_b:
        return None
    return float(_test(n_only_a, n_only_a + n_only_b).pvalue)


def _test(k: int, n: int) -> Any:
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second of imports

    return binomtest(k, n, 0.5)


def _count_outcomes(pairs: Pairs) -> Outcomes:
    a, b = pairs.states_a, pairs.states_b
    answered = (a != PENDING) & (b != PENDING)
    counts = {
        (x, y): int((answered & (a == x) & (b == y)).sum())
        for x in (ACCEPTED, QUARANTINED)
        for y in (ACCEPTED, QUARANTINED)
    }
    only_a, only_b = counts[ACCEPTED, QUARANTINED], counts[QUARANTINED, ACCEPTED]
    return Outcomes(
        both_accepted=counts[ACCEPTED, ACCEPTED],
        only_a=only_a,
        only_b=only_b,
        neither=counts[QUARANTINED, QUARANTINED],
        p_value=find_p_value(only_a, only_b),
        unanswered=int((~answered).sum()),
    )


def _count_changes(name: str, pairs: Pairs) -> list[LabelChange]:
    if name not in pairs.a.labels or name not in pairs.b.labels:
        return []
    changed = pairs.both_accepted & ~pairs.same[name]
    values: npt.NDArray[np.uint64] = np.stack([pairs.field_a(name)[changed], pairs.field_b(name)[changed]], axis=1)
    found, counts = np.unique(values, axis=0, return_counts=True)
    named = [(_label(pairs.a, name, x), _label(pairs.b, name, y)) for x, y in found.tolist()]
    return [LabelChange(name, x, y, int(n)) for (x, y), n in zip(named, counts, strict=True)]


def _label(columns: Columns, name: str, hashed: int) -> str:
    return columns.labels[name].get(hashed, "(none)")


def _take_most(changes: Sequence[LabelChange]) -> list[LabelChange]:
    return sorted(changes, key=lambda c: (-c.n, c.field, c.a, c.b))[:_MOST_CHANGES]


def _hide_labels(changes: list[LabelChange], sides: Sequence[Side], show_private: bool) -> tuple[LabelChange, ...]:
    private = set() if show_private else sides[0].private | sides[1].private
    mark = "[private: {}]"
    return tuple(
        LabelChange(c.field, mark.format(c.field), mark.format(c.field), c.n) if c.field in private else c
        for c in changes
    )
