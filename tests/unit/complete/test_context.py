from __future__ import annotations

import asyncio

import pytest

from overnight.complete.context import RunContext
from overnight.failures import CallFailed, LedgerRefused
from overnight.ledger.spend import Cap
from overnight.taxonomy import FailureClass


def test_a_run_halts_here_where_the_others_cannot_be_told() -> None:
    def fail(_: CallFailed) -> None:
        raise LedgerRefused("The ledger is away.")

    async def halt() -> RunContext:
        context = RunContext("run-1", Cap("run:run-1", 1.0), asyncio.get_running_loop(), tell=fail)
        with pytest.raises(LedgerRefused):
            context.halt(CallFailed(FailureClass.STOPPED, "It has worked long enough."))
        return context

    context = asyncio.run(halt())
    assert context.stopping.is_set()
    assert str(context.halted) == "It has worked long enough."
