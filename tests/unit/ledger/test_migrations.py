"""A ledger that an earlier version wrote is brought to today's schema with all that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from overnight.approve.history import find_history
from overnight.failures import LedgerRefused
from overnight.keys import canonical_json, digest_bytes
from overnight.ledger import Ledger, migrate
from overnight.ledger.completions import Completion, find_completions
from overnight.ledger.draws import find_evidence
from overnight.ledger.inspection import inspect_ledger
from overnight.ledger.provider_batch_items import find_in_batches
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.releases import get_release
from overnight.ledger.sends import find_sends
from overnight.ledger.spend import Spend, find_spend
from overnight.ledger.terms import find_mode

PROMPT, BODY, KEY = (bytes([n]) * 32 for n in range(3))


def _attempt(number: int, outcome: str, cost_usd: float | None, reserved_usd: float) -> dict[str, Any]:
    money = {"cost_usd": cost_usd, "reserved_usd": reserved_usd}
    return {"request_key": KEY, "run_id": "night-1", "number": number, "opened_at": 1.0, "outcome": outcome, **money}


#: Rows as the first version wrote them, by table, those that others refer to first.
_ROWS: dict[str, list[dict[str, Any]]] = {
    "runs": [{"run_id": "night-1", "flow": "sort", "parameters": "{}", "state": "halted", "started_at": 1.0}],
    "run_batches": [
        {"run_id": "night-1", "stage": "input", "n": 1, "manifest": "one"},
        {"run_id": "night-1", "stage": "completed", "n": 1, "manifest": "two"},
    ],
    "run_prompts": [{"run_id": "night-1", "name": "sort", "text": "t", "schema": "s", "checks": "c"}],
    "prompts": [
        {
            "prompt_hash": PROMPT,
            "name": "sort",
            "text": "t",
            "schema": "s",
            "model": "m",
            "endpoint": "e",
            "parameters": "{}",
            "recorded_at": 1.0,
        }
    ],
    "bodies": [{"digest": BODY, "data": b"\0", "n_bytes": 1}],
    "requests": [{"request_key": KEY, "prompt_hash": PROMPT, "input": "{}", "body": BODY, "recorded_at": 1.0}],
    "attempts": [
        _attempt(1, "accepted", 0.25, 1.0),
        _attempt(2, "open", None, 0.5),
        _attempt(3, "unsent", None, 9.0),
    ],
    "completions": [
        {
            "request_key": KEY,
            "attempt_id": 1,
            "output": "{}",
            "output_digest": sha256(b"{}").digest(),
            "accepted_at": 1.0,
        }
    ],
}


@contextmanager
def _connect(url: str) -> Iterator[sa.Connection]:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        yield connection


def _upgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with _connect(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def old_url(empty_url: str, home: Path) -> str:
    """A ledger of the first schema, with some rows."""
    home.mkdir(parents=True)
    _upgrade(empty_url, "0001")
    with _connect(empty_url) as connection:
        found = sa.MetaData()
        found.reflect(connection)
        for name, rows in _ROWS.items():
            connection.execute(found.tables[name].insert(), rows)
    return empty_url


def test_an_old_ledger_keeps_what_it_holds(old_url: str) -> None:
    with closing(Ledger(old_url)) as ledger, ledger.reading() as connection:
        found = connection.exec_driver_sql("SELECT step, stage, manifest FROM run_batches ORDER BY stage").all()
        assert [tuple(row) for row in found] == [(1, "completed", "two"), (1, "input", "one")]
        assert tuple(connection.exec_driver_sql("SELECT step, code FROM run_prompts").one()) == (1, "")
        assert connection.exec_driver_sql("SELECT count(*) FROM attempts WHERE cause IS NULL").scalar() == 3
        assert connection.exec_driver_sql("SELECT model FROM completions").scalars().all() == [None]
        # What an attempt that never came back may have cost is spent; one that was not sent cost nothing.
        assert find_spend(connection, ["run:night-1"]) == {"run:night-1": Spend(0.75, 0.0)}
        if connection.dialect.name == "sqlite":
            # It alone lets a migration break a reference and say nothing.
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_an_answer_in_an_old_ledger_is_a_hit(old_url: str) -> None:
    with closing(Ledger(old_url)) as ledger, ledger.reading() as connection:
        assert find_completions(connection, [KEY.hex()]) == {KEY.hex(): Completion(1, "{}")}


def test_an_answer_that_was_altered_in_an_old_ledger_is_refused(old_url: str) -> None:
    with _connect(old_url) as direct:
        direct.exec_driver_sql("UPDATE completions SET output = '[]'")
    with closing(Ledger(old_url)) as ledger, ledger.reading() as connection, pytest.raises(LedgerRefused):
        find_completions(connection, [KEY.hex()])


def test_an_old_ledger_in_a_file_is_copied_first(old_url: str) -> None:
    Ledger(old_url).close()
    url = sa.make_url(old_url)
    if url.get_backend_name() == "sqlite":
        with _connect(f"{old_url}.before-upgrade-from-0001") as copy:
            assert copy.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0001"
            assert copy.exec_driver_sql("SELECT count(*) FROM attempts").scalar() == 3


def test_a_ledger_that_cannot_be_migrated_is_refused_on_one_line_and_left_as_it_was(old_url: str) -> None:
    with _connect(old_url) as direct:
        direct.exec_driver_sql("CREATE TABLE spend (scope TEXT)")
    with pytest.raises(LedgerRefused, match="cannot be brought from schema 0001") as refused:
        Ledger(old_url)
    assert "\n" not in str(refused.value)
    with _connect(old_url) as direct:
        assert direct.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == ["0001"]
        assert direct.exec_driver_sql("SELECT count(*) FROM run_batches").scalar() == 2
        assert "cause" not in [column["name"] for column in sa.inspect(direct).get_columns("attempts")]


_RELEASE = {
    "digest": KEY,
    "sink": "file:/out.jsonl",
    "prompt_hash": PROMPT,
    "model": "m",
    "checks_hash": KEY,
    "n_rows": 1,
    "items": '[{"item": 1, "row_id": "r1", "input": {}, "output": {}}]',
    "offered_at": 1.0,
}


def test_what_was_read_before_there_were_seeds_is_kept_and_what_waits_is_drawn_anew(old_url: str) -> None:
    """A release that somebody answered to keeps what was shown, with its digest; one that waits is shown seeds."""
    shown = digest_bytes(canonical_json(orjson.loads(str(_RELEASE["items"]))))
    _upgrade(old_url, "0004")
    with _connect(old_url) as connection:
        found = sa.MetaData()
        found.reflect(connection)
        for name, effect in (("answered", "reversible"), ("waiting", None)):
            row = _RELEASE | {"release_id": name, "run_id": "night-1", "effect": effect}
            row["evidence_digest"] = bytes.fromhex(shown)
            connection.execute(found.tables["releases"].insert(), row)
            row = {"release_id": name, "position": 0, "row_id": "r1", "request_key": KEY, "payload": BODY}
            connection.execute(found.tables["release_rows"].insert(), row | {"delivery_key": KEY, "item": 1})
        words = dict.fromkeys(("channel", "reviewer", "decision", "reason", "verdicts"), "{}")
        row = words | {"release_id": "answered", "round": 0, "outcome": "refused", "recorded_at": 1.0}
        connection.execute(found.tables["review_answers"].insert(), row)
    with closing(Ledger(old_url)) as ledger, ledger.reading() as connection:
        assert find_evidence(connection, "answered", 0) == shown
        answered, waiting = get_release(connection, "answered"), get_release(connection, "waiting")
        assert (answered.policy.n_reviewers, waiting.policy.n_reviewers) == (1, 2)
        assert (len(answered.items), len(waiting.items)) == (1, 0)
        assert find_history(connection, answered).draw is None


def test_a_ledger_of_before_there_were_provider_batches_is_looked_at_as_it_is_and_has_none(old_url: str) -> None:
    _upgrade(old_url, "0007")
    facts = inspect_ledger(old_url)
    assert (facts.version, facts.n_unknown, facts.n_in_batches) == ("0007", 1, 0)
    with closing(Ledger(old_url)) as ledger, ledger.reading() as connection:
        assert find_mode(connection, "night-1") == (None, None)
        assert list_batches(connection) == []
        assert find_in_batches(connection, [KEY.hex()]) == {}
        # A call that was lost stays so.
        assert find_sends(connection, "night-1", [KEY.hex()])[KEY.hex()].failures[0][0] == "open"
    assert inspect_ledger(old_url).n_unknown == 1
