"""The label of a row about something else, where that is plainly wrong."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from overnight.approve.seeds.likeness import Sample, Sketch, Words, list_words
from overnight.approve.seeds.mutations import Base

#: Fewer labels are rather steps of a scale, or two sides of one question.
_MIN_LABELS = 4
_MAX_COVERAGE = 0.2
_MAX_LIKENESS = 0.25
#: How much more often a label's own words stand in its rows than in others, where the label says what rows are about.
_MIN_LIFT = 2.0
#: They fit everything, so that another label in their place, or they in its place, is not plainly wrong.
_CATCH_ALL = list_words("other others misc miscellaneous unknown none general unclear default various")


def misplace_label(base: Base, sample: Sample, rng: random.Random) -> dict[str, Any] | None:
    """
    A label that names a subject which nothing in the row speaks of; the other fields stay.

    Only of labels that say what a row is about, as their words stand in the rows that have them: a degree of urgency
    or a mood is a matter of opinion.
    """
    fields = [name for name in base.output if name in sample.label_fields and isinstance(base.output[name], str)]
    for name in rng.sample(fields, len(fields)):
        if labels := _list_foreign(base, name, sample):
            return {**base.output, name: rng.choice(labels)}
    return None


def _list_foreign(base: Base, name: str, sample: Sample) -> list[str]:
    rows: dict[str, list[Sketch]] = defaultdict(list)
    for sketch in sample.sketches:
        if isinstance(label := sketch.output.get(name), str):
            rows[label].append(sketch)
    own = list_words(base.output[name])
    if len(rows) < _MIN_LABELS or not own or own & _CATCH_ALL:
        return []
    # Of this row's label too: its rows show in what other words its subject is spoken of.
    mine = base.words | own
    kin = frozenset().union(*(sketch.given for sketch in rows[base.output[name]]), base.sketch.given)
    fits = {label: _fit(label, found, mine, kin, sample) for label, found in rows.items()}
    worst = sorted(label for label, fit in fits.items() if fit is not None)
    worst.sort(key=lambda label: fits[label] or 0.0)
    return worst[: max(1, len(worst) // 2)]


def _fit(label: str, rows: list[Sketch], mine: Words, kin: Words, sample: Sample) -> float | None:
    """How well a label would fit after all; None where it is not plain that it does not."""
    words = list_words(label)
    if not words or words & (_CATCH_ALL | mine) or not _is_subject(words, rows, sample):
        return None
    theirs = frozenset().union(*(sketch.given for sketch in rows))
    coverage, likeness = sample.coverage(mine, theirs), sample.likeness(kin, theirs)
    return coverage + likeness if coverage <= _MAX_COVERAGE and likeness <= _MAX_LIKENESS else None


def _is_subject(words: Words, rows: list[Sketch], sample: Sample) -> bool:
    """Whether its rows speak of what the label names, and others less."""
    share = sum(bool(words & sketch.given) for sketch in rows) / len(rows)
    usual = sum(bool(words & sketch.given) for sketch in sample.sketches) / len(sample.sketches)
    return share > 0 and share >= _MIN_LIFT * usual
