"""A reader who finds every seed."""

from __future__ import annotations

from typing import Any

from overnight.approve import Answers
from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, find_draw
from overnight.records import Release


def find_seeds(ledger: Ledger, release: Release) -> set[int]:
    """The items of what is shown now that are seeds."""
    with ledger.reading() as connection:
        draw = find_draw(connection, release.release_id)
    assert draw is not None
    return {number for number, drawn in draw.drawn.items() if drawn.stratum == SEED}


def read_honestly(
    ledger: Ledger, release: Release, decision: Any = "release", *, reviewer: str = "Ada", **verdicts: Any
) -> Answers:
    """Answers to a review: the seeds are wrong, the rows named are as said, the others correct."""
    seeds = find_seeds(ledger, release)
    assert set(verdicts) <= {i.row_id for i in release.items if i.item not in seeds}, (
        "a verdict on no row that is shown"
    )
    items = {i.item: "wrong" if i.item in seeds else verdicts.get(i.row_id, "correct") for i in release.items}
    return Answers(decision=decision, reviewer=reviewer, reason="read", items=items)
