"""Figures, profile and changes of a step as the ledger keeps them, and in words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from overnight.checks import DriftRule
from overnight.ledger.measures import Measures, find_measures
from overnight.ledger.runs import find_pinned_prompt
from overnight.report.change import Change
from overnight.report.figures import Figures
from overnight.report.profile import LEAST, Profile
from overnight.report.uncompared import tell_uncompared


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


def is_comparable(kept: Measures) -> bool:
    """Whether a night can be held against it: it has rows enough, and its profile is one that can be read."""
    return orjson.loads(kept.figures)["n_accepted"] >= LEAST and find_profile(kept) is not None


def describe_drift(connection: sa.Connection, run_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the run's steps were compared with, a line each; and what of them changed by more than its limit."""
    steps = list(find_measures(connection, run_id).values())
    changes = (change for kept in steps for change in _adapt(list[Change]).validate_json(kept.changes))
    return tuple(_tell_compared(connection, kept) for kept in steps), tuple(map(describe_change, changes))


def describe_change(change: Change) -> str:
    """The change, and what comes of it."""
    return f"{change.words}; over the limit, which holds the run" if change.severity == "hold" else change.words


def _tell_compared(connection: sa.Connection, kept: Measures) -> str:
    if kept.compared_with is None:
        return (
            f"{kept.prompt_name}: there was no approved run to compare with that has {LEAST} accepted rows or more,"
            " or its rows were not all checked."
        )
    changes: list[Change] = _adapt(list[Change]).validate_json(kept.changes)
    n = len(changes)
    said = f"{n} {'change' if n == 1 else 'changes'} over the limits" if n else "nothing changed over its limit"
    left_out = _find_uncompared(connection, kept, {c.what for c in changes})
    but = f"; {left_out}" if left_out else ""
    return f"{kept.prompt_name}: compared with run {kept.compared_with}, {said}{but}."


def _find_uncompared(connection: sa.Connection, kept: Measures, told: Collection[str]) -> str | None:
    references = find_measures(connection, kept.compared_with or "").values()
    reference = next((m for m in references if m.prompt_name == kept.prompt_name), None)
    before, after = find_profile(reference) if reference else None, find_profile(kept)
    if before is None or after is None:
        return None
    pinned = find_pinned_prompt(connection, kept.run_id, kept.prompt_name)
    # Not `parse_checks`: it would run the project's own checks.py.
    written = orjson.loads(pinned.checks).get("drift", []) if pinned else []
    rules: list[DriftRule] = _adapt(list[DriftRule]).validate_json(orjson.dumps(written))
    return tell_uncompared(before, after, rules, told)


@cache
def _adapt(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
