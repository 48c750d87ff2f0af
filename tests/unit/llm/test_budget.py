from __future__ import annotations

import pytest

from overnight.failures import CallFailed, FailureClass, FailureKind
from overnight.llm import Budget


def test_a_call_that_may_not_fit_is_refused_with_the_figures():
    budget = Budget(1.0, spent_usd=0.5)
    budget.reserve(0.4)
    with pytest.raises(CallFailed) as caught:
        budget.reserve(0.2)
    assert caught.value.failure_class is FailureClass.BUDGET
    assert caught.value.kind is FailureKind.HALT
    message = str(caught.value)
    assert all(figure in message for figure in ("$0.2000", "$1.0000", "$0.5000", "$0.4000", "--budget"))
    assert budget.reserved_usd == 0.4


def test_settling_frees_what_was_not_used():
    budget = Budget(1.0, spent_usd=0.0)
    budget.reserve(0.9)
    budget.settle(0.9, 0.1)
    assert (budget.spent_usd, budget.reserved_usd) == (0.1, 0.0)
    budget.reserve(0.9)


def test_a_call_of_unknown_cost_counts_as_its_worst():
    budget = Budget(1.0, spent_usd=0.0)
    budget.reserve(0.9)
    budget.settle(0.9, None)
    assert budget.spent_usd == 0.9


def test_the_cap_can_be_spent_to_the_last_cent():
    budget = Budget(0.3, spent_usd=0.0)
    for _ in range(3):
        budget.reserve(0.1)
    with pytest.raises(CallFailed):
        budget.reserve(0.1)


def test_a_cap_without_a_price_is_refused():
    with pytest.raises(CallFailed, match="no price is known"):
        Budget(1.0, spent_usd=0.0).reserve(None)


def test_without_a_cap_nothing_is_refused():
    budget = Budget(None, spent_usd=5.0)
    budget.reserve(None)
    budget.reserve(1e9)
    budget.settle(None, None)
    budget.settle(1e9, 2.0)
    assert (budget.spent_usd, budget.reserved_usd) == (7.0, 0.0)


def test_an_unpriced_call_is_free_of_a_free_budget_only():
    Budget(0.0, spent_usd=0.0).reserve(0.0)
    with pytest.raises(CallFailed):
        Budget(0.0, spent_usd=0.0).reserve(0.0001)
