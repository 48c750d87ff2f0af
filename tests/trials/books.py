"""What must hold of a ledger whoever has worked on it: its money, its answers, its claims."""

from __future__ import annotations

import orjson
import pytest

from tests.conftest import House
from tests.trials.shared_worker import digest_answers


def check_books(house: House, n_answers: int) -> None:
    """
    One answer a request, each of an attempt that was accepted; money is booked once, and set aside for what is open.

    No claim is left but those of requests that stand in provider batches.
    """
    assert house.fetch("SELECT count(*), count(DISTINCT request_key) FROM completions") == [(n_answers, n_answers)]
    accepted = house.fetch("SELECT attempt_id FROM attempts WHERE outcome = 'accepted' ORDER BY attempt_id")
    assert accepted == house.fetch("SELECT attempt_id FROM completions ORDER BY attempt_id")
    assert house.fetch("SELECT attempt_id FROM claims ORDER BY attempt_id") == list_packed(house)
    assert sum_spend(house, "run") == pytest.approx(sum_attempts(house))
    assert sum_spend(house, "night") == pytest.approx(sum_attempts(house))
    check_packed(house)
    for kind in ("run", "night"):
        assert sum_reserved(house, kind) == pytest.approx(sum_open(house))


def check_packed(house: House) -> None:
    """Each provider batch counts its requests; of one that was never sent all are closed, and none has a result."""
    items = "SELECT batch_id, count(*) FROM provider_batch_items GROUP BY batch_id"
    counts = dict(house.fetch(items))
    for batch_id, n_items in house.fetch("SELECT batch_id, n_items FROM provider_batches"):
        assert counts.get(batch_id, 0) == n_items, batch_id
    unsent = (
        "SELECT count(*) FROM provider_batches AS b JOIN provider_batch_items AS i ON i.batch_id = b.batch_id"
        " JOIN attempts AS a ON a.attempt_id = i.attempt_id"
        " WHERE b.state = 'unsent' AND (a.outcome <> 'unsent' OR i.kind IS NOT NULL)"
    )
    assert house.fetch(unsent) == [(0,)]


def list_packed(house: House) -> list[tuple[int]]:
    """The open attempts that stand in provider batches."""
    query = "SELECT i.attempt_id FROM provider_batch_items AS i JOIN attempts AS a ON a.attempt_id = i.attempt_id"
    return house.fetch(f"{query} WHERE a.outcome = 'open' ORDER BY i.attempt_id")


def sum_open(house: House) -> float:
    """What is set aside for attempts that have not come back: in a provider batch, or lost."""
    query = "SELECT coalesce(sum(reserved_usd), 0) FROM attempts WHERE outcome = 'open'"
    return float(house.fetch(query)[0][0])


def sum_reserved(house: House, kind: str) -> float:
    """What the table `spend` says is set aside for all runs, or for all nights."""
    return float(house.fetch(f"SELECT sum(reserved_usd) FROM spend WHERE scope LIKE '{kind}:%'")[0][0])  # noqa: S608 - ours


def sum_attempts(house: House) -> float:
    """What the attempts come to: what they cost, or where nobody said so what was set aside for them."""
    query = "SELECT sum(coalesce(cost_usd, reserved_usd)) FROM attempts WHERE outcome <> 'unsent'"
    return float(house.fetch(query)[0][0])


def sum_spend(house: House, kind: str) -> float:
    """What the table `spend` says of all runs, or of all nights."""
    return float(house.fetch(f"SELECT sum(spent_usd + reserved_usd) FROM spend WHERE scope LIKE '{kind}:%'")[0][0])  # noqa: S608 - ours


def count_outcomes(house: House) -> dict[str, int]:
    """How many attempts ended in which way."""
    return dict(house.fetch("SELECT outcome, count(*) FROM attempts GROUP BY outcome"))


def digest_ledger(house: House) -> str:
    """Of the recorded answers, as `shared_worker` has it of a process's rows."""
    query = "SELECT r.input, c.output FROM completions AS c JOIN requests AS r ON r.request_key = c.request_key"
    return digest_answers({orjson.loads(given)["body"].split()[-1]: output for given, output in house.fetch(query)})
