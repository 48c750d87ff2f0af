"""Figures, profile and changes of a step as the ledger keeps them, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from overnight.ledger.measures import Measures, find_measures
from overnight.report.change import Change
from overnight.report.figures import Figures
from overnight.report.profile import Profile


@dataclass(frozen=True)
class StepMeasures:
    """What is kept of a step, read."""

    figures: Figures
    profile: Profile
    changes: tuple[Change, ...]
    #: The run that it was compared with; None: there was none, or it is not to be compared.
    compared_with: str | None
    measured_at: float


def dump_json(value: Figures | Profile | list[Change]) -> str:
    """As it is kept."""
    return orjson.dumps(value).decode()


def read_measures(kept: Measures) -> StepMeasures:
    """As it was before it was kept."""
    changes: list[Change] = _adapt(list[Change]).validate_json(kept.changes)
    return StepMeasures(
        _adapt(Figures).validate_json(kept.figures),
        _adapt(Profile).validate_json(kept.profile),
        tuple(changes),
        kept.compared_with,
        kept.measured_at,
    )


def find_profile(kept: Measures) -> Profile | None:
    """The profile; None where another version kept it in another form: it is as if there were none."""
    try:
        found: Profile = _adapt(Profile).validate_json(kept.profile)
    except ValidationError:
        return None
    return found


def describe_drift(connection: sa.Connection, run_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the run's steps were compared with, a line each; and what of them changed by more than its limit."""
    steps = list(find_measures(connection, run_id).values())
    changes = (change for kept in steps for change in _adapt(list[Change]).validate_json(kept.changes))
    return tuple(_tell_compared(steps)), tuple(map(describe_change, changes))


def describe_change(change: Change) -> str:
    """The change, and what comes of it."""
    return f"{change.words}; over the limit, which holds the run" if change.severity == "hold" else change.words


def _tell_compared(steps: Iterable[Measures]) -> Iterator[str]:
    for kept in steps:
        if kept.compared_with is None:
            yield f"{kept.prompt_name}: there was no approved run to compare with, or its rows were not all checked."
        else:
            n = len(orjson.loads(kept.changes))
            said = f"{n} {'change' if n == 1 else 'changes'} over the limits" if n else "nothing changed over its limit"
            yield f"{kept.prompt_name}: compared with run {kept.compared_with}, {said}."


@cache
def _adapt(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
