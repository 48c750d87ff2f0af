"""People who may review: who they are, which of their codes are used up, and how they have read."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, fields

import orjson
import sqlalchemy as sa

from overnight.ledger.prepared import insert
from overnight.ledger.review_schema import drawn_items, review_answers, reviewers, verdicts

#: Answers that nobody took: a name in one proves nothing.
_REFUSED = "refused"
#: Outcomes that say nothing of the rows.
_SILENT = (_REFUSED, "missed")
_GOOD = {"correct", "corrected"}


@dataclass(frozen=True)
class Reviewer:
    """Somebody who may review."""

    #: As it was enrolled first: "Ada" and "ada" are one person.
    name: str
    nonce: str
    enrolled_by: str
    enrolled_at: float
    #: The time step of the last code that was taken.
    last_step: int
    #: Wrong codes in a row, and when the last one was given.
    n_wrong: int
    wrong_at: float | None


@dataclass(frozen=True)
class ReviewerRecord:
    """How somebody has read, over all releases."""

    #: Answers that were taken, those that caught too few seeds among them.
    n_decisions: int
    #: Items that were read; seeds are among them.
    n_rows: int
    n_seeds: int
    n_caught: int
    #: Over the answers whose time was measured; None: none was.
    seconds_a_row: float | None
    #: Rows that another one read too, and those of them that both called good, or both did not.
    n_compared: int
    n_agreed: int


def fold_name(name: str) -> str:
    """What two spellings of one name have in common: neither case nor the width of a space tells people apart."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def record_reviewer(connection: sa.Connection, name: str, nonce: str, by: str, now: float) -> Reviewer:
    """Enrol somebody; who was enrolled before keeps the name and the used codes, and gets a new secret."""
    known = _find_row(connection, name)
    values = {"nonce": nonce, "enrolled_by": by, "enrolled_at": now, "removed_at": None, "n_wrong": 0, "wrong_at": None}
    statement = insert(reviewers).values(name=known.name if known else name, **values)
    row = connection.execute(
        statement.on_conflict_do_update(index_elements=[reviewers.c.name], set_=values).returning(*_COLUMNS)
    ).one()
    return Reviewer(*row)


def remove_reviewer(connection: sa.Connection, name: str, now: float) -> bool:
    """Take somebody off the list; whether they were on it."""
    found = find_reviewer(connection, name)
    if found:
        connection.execute(sa.update(reviewers).where(reviewers.c.name == found.name).values(removed_at=now))
    return found is not None


def find_reviewer(connection: sa.Connection, name: str) -> Reviewer | None:
    """Who is enrolled under this name, however it is written."""
    return next((r for r in list_reviewers(connection) if fold_name(r.name) == fold_name(name)), None)


def list_reviewers(connection: sa.Connection) -> list[Reviewer]:
    """All who are enrolled, by name."""
    query = sa.select(*_COLUMNS).where(reviewers.c.removed_at.is_(None))
    found = [Reviewer(*row) for row in connection.execute(query)]
    return sorted(found, key=lambda r: fold_name(r.name))


def has_reviewers(connection: sa.Connection) -> bool:
    """Whether anybody is enrolled."""
    query = sa.select(reviewers.c.name).where(reviewers.c.removed_at.is_(None)).limit(1)
    return connection.execute(query).first() is not None


def has_ever(connection: sa.Connection) -> bool:
    """Whether anybody was ever enrolled: then the key that signs approvals was made, as where one has been signed."""
    return connection.execute(sa.select(reviewers.c.name).limit(1)).first() is not None


def burn_step(connection: sa.Connection, name: str, step: int) -> bool:
    """Use up the codes of a time step and of all before it; False where they are used up already."""
    c = reviewers.c
    statement = sa.update(reviewers).where(c.name == name, c.last_step < step)
    return connection.execute(statement.values(last_step=step, n_wrong=0)).rowcount == 1


def record_wrong(connection: sa.Connection, name: str, now: float) -> None:
    """Count a code that was refused, where the name is enrolled."""
    if found := find_reviewer(connection, name):
        statement = sa.update(reviewers).where(reviewers.c.name == found.name)
        connection.execute(statement.values(n_wrong=reviewers.c.n_wrong + 1, wrong_at=now))


def find_record(connection: sa.Connection, name: str) -> ReviewerRecord:
    """What is known of how somebody reads."""
    c, spellings = review_answers.c, _find_spellings(connection, name)
    query = sa.select(c.verdicts, c.n_seeds, c.n_caught, c.seconds)
    taken = connection.execute(query.where(c.reviewer.in_(spellings), c.outcome != _REFUSED)).all()
    n_read = [len(orjson.loads(answer.verdicts)) for answer in taken]
    timed = [(answer.seconds, n) for answer, n in zip(taken, n_read, strict=True) if answer.seconds is not None and n]
    agreed = _compare(connection, spellings)
    return ReviewerRecord(
        n_decisions=len(taken),
        n_rows=sum(n_read),
        n_seeds=sum(answer.n_seeds or 0 for answer in taken),
        n_caught=sum(answer.n_caught or 0 for answer in taken),
        seconds_a_row=sum(s for s, _ in timed) / sum(n for _, n in timed) if timed else None,
        n_compared=len(agreed),
        n_agreed=sum(agreed),
    )


_COLUMNS = [reviewers.c[field.name] for field in fields(Reviewer)]


def _find_row(connection: sa.Connection, name: str) -> sa.Row[tuple[str]] | None:
    # Here and not in SQL: SQLite folds the case of ASCII alone.
    rows = connection.execute(sa.select(reviewers.c.name))
    return next((row for row in rows if fold_name(row.name) == fold_name(name)), None)


def _find_spellings(connection: sa.Connection, name: str) -> list[str]:
    given = connection.execute(sa.select(review_answers.c.reviewer).distinct()).scalars()
    return [spelling for spelling in given if fold_name(spelling) == fold_name(name)]


def _compare(connection: sa.Connection, spellings: list[str]) -> list[bool]:
    """Of each row and each other person who read it in the same release: whether both say the same, in the end."""
    mine, theirs = _select_verdicts().subquery(), _select_verdicts().subquery()
    query = (
        sa.select(theirs.c.reviewer, mine.c.release_id, mine.c.delivery_key, mine.c.verdict, theirs.c.verdict)
        .join(theirs, (theirs.c.release_id == mine.c.release_id) & (theirs.c.delivery_key == mine.c.delivery_key))
        .where(mine.c.reviewer.in_(spellings), theirs.c.reviewer.not_in(spellings))
        .order_by(mine.c.round, theirs.c.round)
    )
    last = {(fold_name(other), *row): (one, two) for other, *row, one, two in connection.execute(query)}
    return [(one in _GOOD) == (two in _GOOD) for one, two in last.values()]


def _select_verdicts() -> sa.Select[tuple[str, int, str, str, str]]:
    """Each verdict on a row, with whose it is: a verdict on a seed says nothing of its row."""
    v, a, d = verdicts.c, review_answers.c, drawn_items.c
    is_seed = sa.exists().where(d.release_id == v.release_id, d.round == a.draw, d.item == v.item, d.stratum == "seed")
    return (
        sa.select(v.release_id, v.round, v.delivery_key, v.verdict, a.reviewer)
        .join(review_answers, (a.release_id == v.release_id) & (a.round == v.round))
        .where(a.outcome.not_in(_SILENT), ~is_seed)
    )
