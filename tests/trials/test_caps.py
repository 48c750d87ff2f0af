"""What is spent stays under the cap, by the provider's own bill and by the ledger, whoever spends it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import RUN, House
from tests.fakes.provider import Call, FakeProvider, Scripted, answer_by_schema
from tests.trials.conftest import IS_LONG, pick
from tests.trials.night import Night
from tests.trials.scripts import Script

CAP_USD = 1.0
DEAR = "openai:gpt-4o"
#: Its list price, US dollars a million tokens.
INPUT_USD, OUTPUT_USD = 2.5, 10.0
#: A call of the short form costs one and two thirds of a cent by the list price, and twice that at worst.
LONG_TEXT = "many words " * pick(short=2_400, long=90)
N_ROWS = pick(short=80, long=4_000)
#: Long enough for several calls of both processes to be in flight together.
SLOW = Scripted(delay_s=0.03)
#: One call in ten is billed and never arrives.
LOST_EVERY = 10


def lose_some(n: int, _: str) -> Scripted:
    return Scripted(drop=True) if n % LOST_EVERY == LOST_EVERY - 1 else SLOW


def price_usd(call: Call) -> float:
    """What the fake would send an invoice for, answered or lost: it counts four bytes as a token."""
    n_input, n_output = len(json.dumps(call.body)) // 4, len(json.dumps(answer_by_schema(call.body))) // 4 + 1
    return (n_input * INPUT_USD + n_output * OUTPUT_USD) / 1e6


def fetch_ledger_usd(house: House) -> float:
    """What the attempts come to: what they cost, or where nobody said so what was set aside for them."""
    query = "SELECT sum(coalesce(cost_usd, reserved_usd)) FROM attempts WHERE outcome <> 'unsent'"
    return float(house.fetch(query)[0][0])


def fetch_spend_usd(house: House, kind: str) -> list[float]:
    """What the table `spend` says of each run, or of each night."""
    return [usd for (usd,) in house.fetch(f"SELECT spent_usd + reserved_usd FROM spend WHERE scope LIKE '{kind}:%'")]  # noqa: S608 - ours


def test_a_run_stays_under_its_cap(
    open_night: Callable[..., Night], fake: FakeProvider, script: Script, say: Callable[[str], None]
) -> None:
    script.decide = lose_some
    night = open_night([LONG_TEXT] * N_ROWS, model=DEAR, budget_usd=CAP_USD)
    halted = night.work()
    billed = sum(map(price_usd, fake.calls))
    booked = fetch_ledger_usd(night.house)
    [(cost,)] = night.house.fetch("SELECT sum(cost_usd) FROM attempts")
    [(worst,)] = night.house.fetch("SELECT max(reserved_usd) FROM attempts")
    n_lost = sum(given.scripted.drop for given in script.given)
    say(
        f"cap of ${CAP_USD:.2f}: {len(fake.calls)} calls, {n_lost} lost, billed ${billed:.4f}, cost ${cost:.4f},"
        f" booked ${booked:.4f}; {halted.why}"
    )
    assert halted.n_pending == N_ROWS - halted.n_accepted > 0
    assert "Raise --budget" in halted.why
    assert "\n" not in halted.why
    assert n_lost > 0
    assert 0 < cost <= CAP_USD
    assert billed <= CAP_USD
    arrived = [call for call, given in zip(fake.calls, script.given, strict=True) if not given.scripted.drop]
    assert cost == pytest.approx(sum(map(price_usd, arrived)))
    # No more was left than the next call may cost.
    assert CAP_USD - worst <= booked <= CAP_USD + 1e-9
    assert fetch_spend_usd(night.house, "run") == [pytest.approx(booked)]
    assert fetch_spend_usd(night.house, "night") == [pytest.approx(booked)]
    # Continued under the same cap it spends nothing; under a higher one it goes on from there.
    n_calls = len(fake.calls)
    with night.continued() as again:
        assert again.work().n_accepted == halted.n_accepted
    assert len(fake.calls) == n_calls
    with night.continued(budget_usd=1.2 * CAP_USD) as again:
        assert again.work().n_accepted > halted.n_accepted
    assert CAP_USD < fetch_ledger_usd(night.house) <= 1.2 * CAP_USD + 1e-9


def test_processes_share_the_cap_of_a_night(
    house: House, fake: FakeProvider, script: Script, say: Callable[[str], None]
) -> None:
    script.decide = lose_some
    workers = [start_worker(house, fake, run_id) for run_id in (RUN, "night-2")]
    assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n"] * 2
    for worker in workers:
        tell(worker, "go")
    ended: list[dict[str, Any]] = [json.loads(worker.communicate(timeout=100)[0]) for worker in workers]
    billed, booked = sum(map(price_usd, fake.calls)), fetch_ledger_usd(house)
    [(worst,)] = house.fetch("SELECT max(reserved_usd) FROM attempts")
    say(
        f"two processes, cap of ${CAP_USD:.2f} a night: {len(fake.calls)} calls, accepted"
        f" {' and '.join(str(e['accepted']) for e in ended)}, billed ${billed:.4f}, booked ${booked:.4f}"
    )
    assert all("OVERNIGHT_NIGHTLY_BUDGET_USD" in e["why"] and "\n" not in e["why"] for e in ended)
    # In the short form all of it may be spent before the second process has begun.
    assert (all if IS_LONG else any)(e["accepted"] > 0 for e in ended)
    assert billed <= CAP_USD
    assert CAP_USD - worst <= booked <= CAP_USD + 1e-9
    assert fetch_spend_usd(house, "night") == [pytest.approx(booked)]
    assert sum(fetch_spend_usd(house, "run")) == pytest.approx(booked)


def start_worker(house: House, fake: FakeProvider, run_id: str) -> subprocess.Popen[str]:
    """A process with rows of its own."""
    command = [sys.executable, "-m", "tests.trials.worker", str(house.home), fake.openai_base_url, run_id, str(CAP_USD)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    tell(worker, json.dumps([f"{run_id} {LONG_TEXT}"] * N_ROWS))
    return worker


def tell(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()
