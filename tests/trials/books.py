"""What must hold of a ledger whoever has worked on it: its money, its answers, its claims."""

from __future__ import annotations

import orjson
import pytest

from tests.conftest import House
from tests.trials.shared_worker import digest_answers


def check_books(house: House, n_answers: int) -> None:
    """One answer a request, each of an attempt that was accepted; no claim is left; money is booked once."""
    assert house.fetch("SELECT count(*), count(DISTINCT request_key) FROM completions") == [(n_answers, n_answers)]
    accepted = house.fetch("SELECT attempt_id FROM attempts WHERE outcome = 'accepted' ORDER BY attempt_id")
    assert accepted == house.fetch("SELECT attempt_id FROM completions ORDER BY attempt_id")
    assert house.fetch("SELECT count(*) FROM claims") == [(0,)]
    assert sum_spend(house, "run") == pytest.approx(sum_attempts(house))
    assert sum_spend(house, "night") == pytest.approx(sum_attempts(house))


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
