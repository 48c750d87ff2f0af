"""Holding answers against what was shown: is every item answered, were the seeds caught, do corrections fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from overnight.approve.answers import Answers
from overnight.approve.bounds import count_catches
from overnight.approve.verdicts import Corrected, write_verdict
from overnight.failures import ReviewRefused
from overnight.ledger.draws import SEED, Draw
from overnight.masking import Veil
from overnight.records import Release, ReviewItem


@dataclass(frozen=True)
class MissedSeed:
    """A seed that was called correct."""

    item: int
    row_id: str
    #: How it was made.
    how: str


@dataclass(frozen=True)
class Judged:
    """Answers that fit what was shown."""

    #: By the item's number, as they are recorded.
    verdicts: Mapping[str, Any]
    n_seeds: int
    missed: tuple[MissedSeed, ...]

    @property
    def n_caught(self) -> int:
        """Seeds that were not called correct."""
        return self.n_seeds - len(self.missed)

    @property
    def is_read(self) -> bool:
        """Whether enough seeds were caught to take the other verdicts for a reader's."""
        return self.n_caught >= count_catches(self.n_seeds)


def judge(
    release: Release, answers: Answers, draw: Draw, schema: Mapping[str, Any], *, may_skip: bool = False
) -> Judged:
    """
    The answers as they are recorded, with what was missed.

    Args:
        release: As it was shown.
        answers: What the reviewer said.
        draw: What was shown, and what of it are seeds.
        schema: Of an output.
        may_skip: An earlier round counted: who holds what nobody has read need not read this one.

    Raises:
        ReviewRefused: An item has no verdict, was not shown, or is corrected to what the schema refuses, or a
            rejection has no reason.
    """
    needs_none = answers.decision == "reject" or (may_skip and answers.decision == "hold")
    if answers.items or not needs_none:
        _refuse_uncovered(release, answers, draw)
    if answers.decision == "reject" and not answers.reason:
        raise ReviewRefused(
            f"Release {release.release_id} is rejected without a reason. Give one: it is what is read later."
        )
    shown = {item.item: item for item in draw.items}
    validator = jsonschema_rs.validator_for(dict(schema), validate_formats=True, offline=True)
    verdicts = {}
    for number, given in answers.items.items():
        verdict = write_verdict(given)
        if isinstance(given, Corrected):
            verdict = {"corrected": _correct(release, shown[number], draw.get_veil(number), given, validator)}
        verdicts[str(number)] = verdict
    seeds = {n: d for n, d in draw.drawn.items() if d.stratum == SEED}
    missed = tuple(
        MissedSeed(n, shown[n].row_id, d.note or "") for n, d in seeds.items() if verdicts.get(str(n)) == "correct"
    )
    return Judged(verdicts, len(seeds) if answers.items else 0, missed)


def _refuse_uncovered(release: Release, answers: Answers, draw: Draw) -> None:
    shown, answered = {i.item for i in draw.items}, set(answers.items)
    if missing := sorted(shown - answered):
        raise ReviewRefused(
            f"Item {missing[0]} of release {release.release_id} has no verdict. Give one to every item."
        )
    if extra := sorted(answered - shown):
        raise ReviewRefused(f"Item {extra[0]} was not shown for release {release.release_id}. Leave it out.")


def _correct(release: Release, item: ReviewItem, veil: Veil, given: Corrected, validator: Any) -> dict[str, Any]:
    """The whole output as it should be: what was hidden from the reviewer stands in it again."""
    number, shown = item.item, dict(item.output)
    corrected = shown | veil.put_back(given.corrected)
    if corrected == shown:
        raise ReviewRefused(
            f"Item {number} of release {release.release_id} is corrected to what it was. Change it, or call it correct."
        )
    error = next(iter(validator.iter_errors(orjson.loads(orjson.dumps(corrected)))), None)
    if error is not None:
        at = "/".join(str(part) for part in error.instance_path) or "the output"
        message = " ".join(veil.hide_text(str(error.message)).split())[:200]
        raise ReviewRefused(
            f"The correction of item {number} of release {release.release_id} does not fit the prompt's schema at {at}:"
            f" {message}. Correct it otherwise, or call the row wrong."
        )
    return corrected
