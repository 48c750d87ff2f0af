"""The house of a year, as each of its processes opens it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import sqlalchemy as sa

from overnight.checks.language import find_language
from overnight.ledger import Ledger, runs
from overnight.records import ModelTerms, RunState
from tests.conftest import House, make_settings

if TYPE_CHECKING:
    from tests.trials.year_worker import Orders, WallClock

MODEL = "openai:gpt-fake"
C = 8
#: In the middle of what a process does, its clock is set.
_SET_AFTER_S = 0.05


def warm_up() -> None:
    """What each fork would load anew."""
    find_language("a text that is long enough to be told apart from others " * 5)
    httpx.create_ssl_context(trust_env=False)


@contextmanager
def open_house(orders: Orders, clock: WallClock) -> Iterator[House]:
    """The house, with the settings of this process."""
    terms = (ModelTerms(MODEL, orders.prices[0], orders.prices[1]),)
    settings = make_settings(
        Path(orders.home), orders.ledger_url, concurrency=C, call_timeout_s=1.0, retry_base_s=0.003, probe_s=0.01,
        outage_s=0.1, approval_s=86_400.0, waits_s=7 * 86_400.0, terms=terms, budget_usd=orders.cap_usd,
        nightly_budget_usd=orders.cap_usd,
    )  # fmt: skip
    with closing(Ledger(settings.ledger_url)) as ledger:
        house = House(settings, ledger)
        if orders.shift_s:
            clock.set_later(_SET_AFTER_S, orders.shift_s)
        yield house


@contextmanager
def open_pass(orders: Orders, house: House) -> Iterator[None]:
    """The run is worked on for as long as the context lasts."""

    def begin(connection: sa.Connection) -> int:
        return runs.open_pass(
            connection, run_id=orders.run_id, flow="sort", parameters={"sink": orders.sink},
            flow_run_id=f"{orders.run_id} {orders.at} {orders.failpoint}", deployed=True, now=time.time(),
        )  # fmt: skip

    pass_id = house.ledger.write(begin)
    yield
    house.ledger.write(lambda connection: runs.end_pass(connection, pass_id, time.time()))


def end(house: House, run_id: str, state: RunState, why: str = "", **more: Any) -> dict[str, Any]:
    """Record where the run stands; what its process says of it."""
    house.ledger.write(lambda connection: runs.set_state(connection, run_id, state, why or None))
    return {"state": str(state), "why": why, **more}
