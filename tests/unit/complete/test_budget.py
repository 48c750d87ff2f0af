"""What a run may cost is pinned with it: no process of a later pass takes another budget for it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from overnight.complete import Engine
from overnight.ledger.terms import pin_budget
from tests.conftest import RUN, House


@pytest.mark.parametrize(
    ("pinned", "told", "holds"), [(0.3, None, 0.3), (0.3, 9.0, 0.3), (None, 9.0, 9.0), (0.0, 1.0, 0.0)]
)
@pytest.mark.parametrize("joins", [True, False])
def test_a_pass_has_the_budget_of_its_run_else_that_of_its_process(
    house: House, pinned: float | None, told: float | None, holds: float, *, joins: bool
) -> None:
    house.begin()
    house.ledger.write(lambda c: pin_budget(c, RUN, pinned, replaces=True))
    with closing(Engine(replace(house.settings, budget_usd=told), house.ledger)) as engine:
        # A worker of a cluster joins a pass that the flow has begun.
        context = engine.join_pass(RUN, 1, n_processes=2) if joins else engine.begin_pass(RUN, 1)
        assert context.cap.usd == holds
