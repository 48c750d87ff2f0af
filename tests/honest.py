"""A reader who finds every seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from overnight.approve import Answers
from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, find_draw
from overnight.ledger.releases import find_release_rows
from overnight.records import Release


def find_seeds(ledger: Ledger, release: Release) -> set[int]:
    """The items of what is shown now that are seeds."""
    with ledger.reading() as connection:
        draw = find_draw(connection, release.release_id)
    assert draw is not None
    return {number for number, drawn in draw.drawn.items() if drawn.stratum == SEED}


@dataclass(frozen=True)
class Wish:
    """What a reader thinks of the rows, in whichever round they are shown."""

    decision: Any
    reviewer: str
    verdicts: dict[str, Any]


#: Of answers that were made here, by their identity: more rounds may follow.
_WISHES: dict[int, tuple[Answers, Wish]] = {}


def find_wish(answers: Answers) -> Wish | None:
    """What the reader who gave these answers thinks of the rows."""
    found = _WISHES.get(id(answers))
    return found[1] if found else None


def read_honestly(
    ledger: Ledger, release: Release, decision: Any = "release", *, reviewer: str = "Ada", **verdicts: Any
) -> Answers:
    """Answers to a round: the seeds are wrong, the rows named are as said, the others correct."""
    with ledger.reading() as connection:
        rows = {row.row_id for row in find_release_rows(connection, release.release_id)}
    assert set(verdicts) <= rows, "a verdict on no row of the release"
    seeds = find_seeds(ledger, release)
    items = {i.item: "wrong" if i.item in seeds else verdicts.get(i.row_id, "correct") for i in release.items}
    answers = Answers(decision=decision, reviewer=reviewer, reason="read", items=items)
    _WISHES[id(answers)] = answers, Wish(decision, reviewer, verdicts)
    return answers
