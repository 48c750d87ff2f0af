"""Requests from outside: each kept once, whoever sends it how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.columns import to_bytes
from overnight.ledger.inbox_schema import inbox
from overnight.ledger.prepared import Prepared, insert, list_marks
from overnight.records import InboxState


@dataclass(frozen=True)
class Arrival:
    """A request as it came in."""

    inbox_key: str
    prompt: str
    row_id: str
    #: The declared inputs as canonical JSON.
    input_json: str
    sent_by: str
    received_at: float


@dataclass(frozen=True)
class InboxRequest:
    """A request from outside, and where it stands."""

    inbox_key: str
    prompt: str
    row_id: str
    state: InboxState
    received_at: float
    #: The run that has it, or had it last.
    run_id: str | None
    #: The exact JSON that was released; null until then.
    answer: str | None
    reason: str | None
    settled_at: float | None
    #: When whoever asked was first shown the answer.
    read_at: float | None = None
    #: When its texts were dropped: sent again, it is a new request.
    purged_at: float | None = None
    #: Of the delivery that brought the answer.
    delivery_key: str | None = None


def enqueue(connection: sa.Connection, arrivals: Sequence[Arrival]) -> list[bool]:
    """Keep the requests; for each whether it is new. The first one stays as it is, but for one that was purged."""
    first: dict[str, int] = {}
    for at, arrival in enumerate(arrivals):
        first.setdefault(arrival.inbox_key, at)
    known = _find_known(connection, list(first))
    new = {key: at for key, at in first.items() if key not in known}
    _ADD.run(connection, [_values(arrivals[at]) for at in new.values()])
    return [new.get(arrival.inbox_key) == at for at, arrival in enumerate(arrivals)]


def find_request(connection: sa.Connection, inbox_key: str) -> InboxRequest | None:
    """The request of this key, as it stands now."""
    row = connection.execute(sa.select(*_SHOWN).where(inbox.c.inbox_key == inbox_key)).one_or_none()
    return InboxRequest(**{**row._mapping, "state": InboxState(row.state)}) if row else None  # noqa: SLF001 - public by its documentation


def mark_read(connection: sa.Connection, inbox_key: str, now: float) -> None:
    """Record that whoever asked was shown the answer; the first time stays."""
    c = inbox.c
    unread = sa.and_(c.inbox_key == inbox_key, c.answer.is_not(None), c.read_at.is_(None))
    connection.execute(sa.update(inbox).where(unread).values(read_at=now))


@dataclass(frozen=True)
class InboxCount:
    """The requests to one prompt that stand alike."""

    prompt: str
    state: InboxState
    n: int
    #: When the oldest of them came in.
    oldest_at: float


def list_counts(connection: sa.Connection, prompt: str | None = None) -> list[InboxCount]:
    """How many requests stand where, by prompt and state."""
    c = inbox.c
    query = sa.select(c.prompt, c.state, sa.func.count(), sa.func.min(c.received_at)).group_by(c.prompt, c.state)
    query = query.where(c.prompt == prompt) if prompt else query
    found = [InboxCount(row[0], InboxState(row[1]), row[2], row[3]) for row in connection.execute(query)]
    order = list(InboxState)
    return sorted(found, key=lambda count: (count.prompt, order.index(count.state)))


def list_purgeable(connection: sa.Connection, before: float) -> list[str]:
    """The keys of requests that were settled before then and have their texts still."""
    c = inbox.c
    settled = c.state.in_([InboxState.ANSWERED, InboxState.CLOSED])
    query = sa.select(c.inbox_key).where(settled, c.settled_at < before, c.purged_at.is_(None))
    return list(connection.execute(query).scalars())


def purge_settled(connection: sa.Connection, keys: Sequence[str], *, before: float, now: float) -> set[str]:
    """Drop what was asked and answered under these keys, unless it was settled anew since; those that were dropped."""
    c, dropped = inbox.c, set[str]()
    for some in batched(keys):
        old = sa.update(inbox).where(c.inbox_key.in_(some), c.settled_at < before, c.purged_at.is_(None))
        done = old.values(input="", answer=None, delivery_key=None, purged_at=now).returning(c.inbox_key)
        dropped.update(connection.execute(done).scalars())
    return dropped


def _find_known(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in batched(keys):
        marks = list_marks(connection, len(some))
        text = f"SELECT inbox_key FROM inbox WHERE inbox_key IN {marks} AND purged_at IS NULL"  # noqa: S608 - marks alone
        rows = connection.exec_driver_sql(text, tuple(bytes.fromhex(key) for key in some)).scalars()
        found.update(bytes(key).hex() for key in rows)
    return found


def _values(arrival: Arrival) -> dict[str, object]:
    return {
        "inbox_key": to_bytes(arrival.inbox_key),
        "prompt": arrival.prompt,
        "row_id": arrival.row_id,
        "input": arrival.input_json,
        "sent_by": arrival.sent_by,
        "received_at": arrival.received_at,
        "state": InboxState.QUEUED.value,
    }


_SHOWN = [inbox.c[name] for name in InboxRequest.__dataclass_fields__]
_NEW = ("inbox_key", "prompt", "row_id", "input", "sent_by", "received_at", "state")
_INSERT = insert(inbox).values({name: sa.bindparam(name) for name in _NEW})
_AGAIN = {name: _INSERT.excluded[name] for name in _NEW if name != "inbox_key"}
_BLANK = dict.fromkeys(
    ("run_id", "worker_id", "answer", "delivery_key", "read_at", "reason", "settled_at", "purged_at"), sa.null()
)
_ADD = Prepared(
    _INSERT.on_conflict_do_update(
        index_elements=[inbox.c.inbox_key], set_=_AGAIN | _BLANK, where=inbox.c.purged_at.is_not(None)
    )
)
