"""A year's books: the ledger laid beside the provider's log and the source; `year_deliveries` has the way out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from overnight.ledger.manifests import find_latest_batches
from overnight.ledger.queries import summarize
from overnight.parts import read_part
from overnight.records import Batch
from tests.trials.year import answer_text
from tests.trials.year_deliveries import check_deliveries
from tests.trials.year_house import C
from tests.trials.year_provider import GOOD
from tests.trials.year_records import Told, World, look, to_hex

_CENT = 1e-9
#: A call, as the ledger has it; the prompt's text names its version, the input the row's text.
_ATTEMPTS = """
    SELECT a.provider_request_id, a.outcome, a.cost_usd, a.reserved_usd, a.request_key, r.input, p.text
    FROM attempts AS a JOIN requests AS r ON r.request_key = a.request_key
    JOIN prompts AS p ON p.prompt_hash = r.prompt_hash WHERE a.outcome <> 'unsent'
"""


def check_books(world: World, touched: Sequence[str]) -> None:
    """
    Hold the ledger against the other records.

    Args:
        world: What stands outside it.
        touched: The runs that something was done on since the books were checked last.
    """
    with look(world.ledger_url) as connection:
        check_calls(world, connection)
        check_money(world, connection)
        for run_id in touched:
            check_rows(world.runs[run_id], world.home, connection)
        check_deliveries(world, connection)


def check_rows(told: Told, home: Path, connection: sa.Connection) -> None:
    """Every row of the source is in one state, and an accepted one has the answer that the model gives to its text."""
    found: list[dict[str, Any]] = []
    latest = find_latest_batches(connection, told.run_id).values()
    for batch in latest:
        found += read_part(batch.part, home).to_pylist()
    assert len(found) == len(told.rows) + told.n_bad or not latest
    states = Counter(row["state"] for row in found)
    good = [
        row
        for row in found
        if row["row_id"] in told.rows and orjson.loads(row["input"])["body"] == told.rows[row["row_id"]]
    ]
    assert len(good) == len(told.rows) or not latest
    for row in good:
        if row["state"] == "accepted":
            assert orjson.loads(row["output"]) == answer_text(told.version, told.rows[row["row_id"]]), row["row_id"]
    summary = summarize(connection, told.run_id, 0.0)
    assert summary.rows == summary.accepted + summary.quarantined + summary.pending == len(found)
    if not any(isinstance(batch, Batch) for batch in latest):
        assert (summary.accepted, summary.pending) == (states["accepted"], states["pending"])
        assert summary.quarantined == states["quarantined"] >= told.n_bad
    left = connection.exec_driver_sql(_LEFT.format(told.run_id)).scalar_one()
    if told.state == "released":
        assert summary.published + summary.held + left == summary.accepted
    else:
        assert summary.published == 0 or told.state == "halted"


#: Promises of a run that were not kept because the sink holds a later version.
_LEFT = """
    SELECT count(*) FROM outbox AS o JOIN approvals AS a ON a.approval_id = o.approval_id
    JOIN releases AS r ON r.release_id = a.release_id WHERE r.run_id = '{}' AND o.state = 'superseded'
"""


def check_calls(world: World, connection: sa.Connection) -> None:
    """Each call of the ledger is one of the provider's; those it knows nothing of, it says it does not know."""
    by_id = {given.call_id: given for given in world.given}
    assert len(by_id) == len(world.given)
    known: set[str] = set()
    unknown, late = Counter[str](), Counter[str]()
    for row in connection.exec_driver_sql(_ATTEMPTS):
        key = to_hex(row.request_key)
        if row.input:  # of one that was purged there is the hash alone
            world.keys[_read_version(row.text), orjson.loads(row.input)["body"]] = key
        if row.provider_request_id is None:
            unknown[key] += 1
            late[key] += row.outcome == "failed"
            continue
        assert row.provider_request_id in by_id, f"{row.provider_request_id} is none of the provider's"
        given = by_id[row.provider_request_id]
        assert given.call_id not in known, f"{given.call_id} stands in the ledger twice"
        known.add(given.call_id)
        assert world.keys.get(given.key) == key, f"{given.call_id} stands under another request"
        assert (row.outcome == "accepted") == (given.kind == GOOD), (given, row)
        if row.cost_usd is None:  # nobody said what it was, and what was set aside covers it
            assert given.usd <= row.reserved_usd, (given, row)
        else:
            assert row.cost_usd == pytest.approx(given.usd), (given, row)
    lost = [given for given in world.given if given.call_id not in known]
    assert {given.key for given in lost} <= world.keys.keys(), "calls for which the ledger has no request"
    n_lost = Counter(world.keys[given.key] for given in lost)
    assert n_lost <= unknown, f"calls of which the ledger has no attempt: {n_lost - unknown}"
    # A good answer is lost where a process was killed with calls in flight, or where it came too late.
    good = [given for given in lost if given.kind == GOOD and not late[world.keys[given.key]]]
    for day, n in Counter(given.day for given in good).items():
        assert n <= C * world.kills[day], f"day {day}: {n} good answers lost by {world.kills[day]} kills"
    paid = Counter(given.key for given in world.given if given.kind == GOOD)
    for asked, n in paid.items():
        key = world.keys[asked]
        if n > 1:
            assert n - 1 <= unknown[key] + _count_purges(key, connection), f"{asked} was paid for {n} times"


def _count_purges(key: str, connection: sa.Connection) -> int:
    found = connection.execute(
        sa.text("SELECT count(*) FROM purged_answers WHERE request_key = :key"), {"key": bytes.fromhex(key)}
    )
    return int(found.scalar_one())


def _read_version(prompt: str) -> int:
    return int(prompt.partition("(v")[2].partition(")")[0])


_PRICED = "SELECT provider_request_id FROM attempts WHERE cost_usd IS NOT NULL"


def check_money(world: World, connection: sa.Connection) -> None:
    """What the ledger says was spent covers the invoice; per night and in all, and no night is over its cap."""
    [(cost, reserved)] = connection.exec_driver_sql(
        "SELECT sum(cost_usd), sum(CASE WHEN cost_usd IS NULL THEN reserved_usd END) FROM attempts"
        " WHERE outcome <> 'unsent'"
    ).all()
    booked = (cost or 0.0) + (reserved or 0.0)
    query = "SELECT scope, spent_usd + reserved_usd FROM spend"
    spent: dict[str, float] = dict(connection.exec_driver_sql(query).tuples().all())
    for kind in ("run:", "night:"):
        assert sum(usd for scope, usd in spent.items() if scope.startswith(kind)) == pytest.approx(booked)
    known = {i for (i,) in connection.exec_driver_sql(_PRICED) if i}
    assert (cost or 0.0) == pytest.approx(sum(given.usd for given in world.given if given.call_id in known))
    invoice: defaultdict[str, float] = defaultdict(float)
    for given in world.given:
        invoice[given.night] += given.usd
    for night, usd in invoice.items():
        assert usd <= spent.get(night, 0.0) + _CENT, f"{night}: {usd} on the invoice, {spent.get(night)} in the ledger"
        assert spent.get(night, 0.0) <= world.caps[night] + _CENT, f"{night} is over its cap"
