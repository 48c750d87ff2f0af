"""How far the review of a release has come: the rounds that count, and the draw that waits to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.approve.reading import COUNTED, Reading, Round, read_rounds
from overnight.ledger.draws import Draw, DrawnItem, find_draw, find_drawn
from overnight.ledger.reviews import ENDED, ReviewAnswer, list_answers
from overnight.records import Release


@dataclass(frozen=True)
class History:
    """The review of one release up to now."""

    #: What was read since the review began, and the answers that it came of.
    reading: Reading
    rounds: tuple[Round, ...]
    #: What is to be read now; None: it is not drawn yet.
    draw: Draw | None
    #: Rows that were flagged by readers who caught too few seeds, by what they were shown for: they are read again.
    flagged: Mapping[int, str]
    #: All answers, each with its round.
    answers: tuple[tuple[int, ReviewAnswer], ...]

    def count_missed(self, name: str, how: str | None) -> int:
        """Rounds in which this reader caught too few seeds; where names are declared, whoever's they were."""
        missed = [a for _, a in self.answers if a.outcome == "missed"]
        return sum(a.reviewer == name or how == a.identified_by == "declared" for a in missed)


def find_history(connection: sa.Connection, release: Release) -> History:
    """How far the release's review has come."""
    answers = list_answers(connection, release.release_id)
    begun = max((n + 1 for n, (_, a) in enumerate(answers) if a.outcome in ENDED), default=0)
    since = [(a, _find_drawn(connection, release, a)) for _, a in answers[begun:]]
    rounds = tuple(Round(a, drawn) for a, drawn in since if a.outcome in COUNTED)
    draw = find_draw(connection, release.release_id)
    if draw and (draw.is_without_seeds or any(n >= draw.round and a.outcome != "refused" for n, a in answers)):
        draw = None
    reading = read_rounds(release.n_rows, release.policy, rounds)
    flagged = {
        d.position: d.stratum
        for a, drawn in since
        if a.outcome == "missed"
        for n, d in drawn.items()
        if d.stratum in ("random", "risk") and a.verdicts.get(str(n), "correct") != "correct"
    }
    unread = {p: stratum for p, stratum in flagged.items() if p not in reading.readers}
    return History(reading, rounds, draw, unread, tuple(answers))


def _find_drawn(connection: sa.Connection, release: Release, answer: ReviewAnswer) -> Mapping[int, DrawnItem]:
    """What the items of an answer were; of one from before there were draws, nothing."""
    return {} if answer.draw is None else find_drawn(connection, release.release_id, answer.draw)
