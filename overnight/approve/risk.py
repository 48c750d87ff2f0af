"""The rows of a release that are worth reading for their risk; they may hold a release back, never speak for it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from statistics import median
from typing import Any

from overnight.approve.seeds.labels import find_enum
from overnight.records import Answered

_CONFIDENCE = "confidence"
_LOW_CONFIDENCE = 0.5
#: Robust z from which a length is unusual (Iglewicz and Hoaglin 1993), and the rows that it takes to tell.
_MAX_Z = 3.5
_MIN_ROWS_FOR_LENGTHS = 20
#: Makes the median absolute deviation a standard deviation.
_MAD_TO_SD = 1.4826
#: Of log length: where nearly all texts are equally long, one that is a third longer is nothing unusual.
_MIN_SD = 0.1
_MAX_ODD_SHARE = 0.05
_MIN_ROWS_FOR_LABELS = 100
_RARE_SHARE = 0.01


class _Class(IntEnum):
    DOUBTED = 0
    WARNED = 1
    UNSURE = 2
    REASKED = 3
    ODD_LENGTH = 4
    RARE_LABEL = 5


#: Class, how far down within it, index of the row, the reason in words.
_Risk = tuple[_Class, float, int, str]


def rank_risk(rows: Sequence[Answered], schema: Mapping[str, Any]) -> list[tuple[int, str]]:
    """
    The rows worth reading for their risk, the riskiest first, each once with its gravest reason in words.

    First rows that somebody doubted, then those a check warned of, of low confidence, asked again, of unusual length,
    with a rare label.

    Args:
        rows: Of the release.
        schema: Of their outputs; its enums are the labels.
    """
    fields = list(dict.fromkeys(field for row in rows for field in row.output))
    labels = [field for field in fields if find_enum(schema, field)]
    texts = [field for field in fields if field not in labels]
    found = [*_list_marked(rows), *_list_odd_lengths(rows, texts), *_list_rare_labels(rows, labels)]
    first: dict[int, str] = {}
    for _, _, index, reason in sorted(found, key=lambda risk: risk[:3]):
        first.setdefault(index, reason)
    return list(first.items())


def _list_marked(rows: Sequence[Answered]) -> Iterator[_Risk]:
    """What the row itself carries."""
    for index, row in enumerate(rows):
        if row.is_doubted:
            yield _Class.DOUBTED, 0, index, "called wrong before"
        if row.warning is not None:
            yield _Class.WARNED, 0, index, f"a check warned: {row.warning}"
        sure = row.output.get(_CONFIDENCE)
        if isinstance(sure, int | float) and not isinstance(sure, bool) and 0 <= sure < _LOW_CONFIDENCE:
            yield _Class.UNSURE, sure, index, f"confidence {sure:g}"
        if row.was_reasked:
            yield _Class.REASKED, 0, index, "asked again before it was accepted"


def _list_odd_lengths(rows: Sequence[Answered], fields: Sequence[str]) -> Iterator[_Risk]:
    for field in fields:
        lengths = {n: len(text) for n, row in enumerate(rows) if isinstance(text := row.output.get(field), str)}
        if len(lengths) < _MIN_ROWS_FOR_LENGTHS:
            continue
        logs = {index: math.log1p(length) for index, length in lengths.items()}
        middle = median(logs.values())
        deviation = max(_MIN_SD, _MAD_TO_SD * median(abs(log - middle) for log in logs.values()))
        odd = {index: z for index, log in logs.items() if abs(z := (log - middle) / deviation) > _MAX_Z}
        # Lengths of two kinds are not unusual: neither is rare.
        for index, z in odd.items() if len(odd) <= _MAX_ODD_SHARE * len(logs) else ():
            how = "long" if z > 0 else "short"
            usual = f"usual are {round(math.expm1(middle)):,}"
            reason = f"{field} is unusually {how} ({lengths[index]:,} characters, {usual})"
            yield _Class.ODD_LENGTH, -abs(z), index, reason


def _list_rare_labels(rows: Sequence[Answered], fields: Sequence[str]) -> Iterator[_Risk]:
    for field in fields:
        values = {n: v for n, row in enumerate(rows) if isinstance(v := row.output.get(field), str | int | float)}
        if len(values) < _MIN_ROWS_FOR_LABELS:
            continue
        n_with = Counter(values.values())
        for index, value in values.items():
            if n_with[value] < _RARE_SHARE * len(values):
                reason = f"{field} {value!r} is rare ({n_with[value]:,} of {len(values):,})"
                yield _Class.RARE_LABEL, n_with[value], index, reason
