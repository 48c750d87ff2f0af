"""Who waits for money is woken whatever becomes of those it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from overnight.complete.context import RunContext
from overnight.complete.money import Money, OverBudget
from overnight.failures import LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.attempts import NotOpened, Opening
from overnight.ledger.bodies import make_body
from overnight.ledger.leases import Worker
from overnight.ledger.spend import Cap, Shortfall

CAP = Cap("run:night-1", 1.0)
SHORT = Shortfall(CAP, 0.5, 0.0, 0.75)


class _Ledger:
    """Gives each opening the future that the test holds."""

    def __init__(self) -> None:
        self.given: list[asyncio.Future[Any]] = []
        self.asked_again = asyncio.Event()

    def register(self, lease_s: float) -> Worker:  # noqa: ARG002 - the signature of a ledger
        return Worker(1)

    def record(self, job: Callable[..., Any], item: Any, *, is_urgent: bool) -> asyncio.Future[Any]:  # noqa: ARG002 - the same
        self.given.append(asyncio.get_running_loop().create_future())
        if len(self.given) == 3:
            self.asked_again.set()
        return self.given[-1]


async def _open(money: Money, context: RunContext) -> int | NotOpened:
    return await money.open(Opening("k", "p", "{}", make_body(b""), "night-1", 1.0, 0.5, (CAP,)), context)


@pytest.mark.parametrize("end", [NotOpened.SETTLED, LedgerRefused("full"), SHORT], ids=["settled", "refused", "short"])
def test_a_call_that_waits_for_another_s_opening_is_told_how_that_ended(end: Any) -> None:
    async def story() -> None:
        ledger, context = _Ledger(), RunContext("night-1", CAP, asyncio.get_running_loop())
        money = Money(cast("Ledger", ledger))
        money.register(60.0)
        waiting, other = (asyncio.create_task(_open(money, context)) for _ in range(2))
        await asyncio.sleep(0)
        ledger.given[0].set_result(SHORT)
        await asyncio.sleep(0.01)
        (ledger.given[1].set_exception if isinstance(end, Exception) else ledger.given[1].set_result)(end)
        await asyncio.wait([other], timeout=5)
        await asyncio.wait_for(ledger.asked_again.wait(), 5)
        ledger.given[2].set_result(SHORT)
        with pytest.raises(OverBudget):
            await asyncio.wait_for(waiting, 5)
        assert other.done()
        if isinstance(end, Exception | Shortfall):
            assert other.exception()

    asyncio.run(story())
