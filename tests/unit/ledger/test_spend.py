"""Money: reserved with the attempt, settled with its end, in one sum for all who spend."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from overnight.ledger.spend import Cap, Shortfall, Spend, find_spend, night_scope, reserve, run_scope, settle
from tests.conftest import House

RUN_CAP, NIGHT_CAP = Cap("run:a", 1.0), Cap("night:2026-11-22", 1.5)


def _reserve(house: House, *wanted: tuple[tuple[Cap, ...], float]) -> list[Shortfall | None]:
    return house.ledger.write(lambda c: reserve(c, wanted))


def _settle(house: House, *calls: tuple[tuple[Cap, ...], float, float]) -> None:
    house.ledger.write(lambda c: settle(c, calls))


def _find(house: House, scope: str) -> Spend:
    with house.ledger.reading() as connection:
        return find_spend(connection, [scope]).get(scope, Spend())


def test_what_is_reserved_counts_until_it_is_settled(house: House) -> None:
    assert _reserve(house, ((RUN_CAP,), 0.75)) == [None]
    assert _find(house, "run:a") == Spend(0.0, 0.75)
    _settle(house, ((RUN_CAP,), 0.75, 0.5))
    assert _find(house, "run:a") == Spend(0.5, 0.0)
    assert _find(house, "run:a").total_usd == 0.5


def test_of_calls_reserved_together_those_that_fit_are_let_and_the_others_say_why(house: House) -> None:
    found = _reserve(house, ((RUN_CAP,), 0.75), ((RUN_CAP,), 0.5), ((RUN_CAP,), 0.25))
    assert found == [None, Shortfall(RUN_CAP, 0.5, 0.0, 0.75), None]
    assert _find(house, "run:a") == Spend(0.0, 1.0)


def test_a_call_that_fits_under_one_cap_and_not_under_the_other_takes_from_neither(house: House) -> None:
    _reserve(house, ((Cap("run:b", 5.0), NIGHT_CAP), 1.25))
    [short] = _reserve(house, ((RUN_CAP, NIGHT_CAP), 0.5))
    assert short == Shortfall(NIGHT_CAP, 0.5, 0.0, 1.25)
    assert (_find(house, "run:a"), _find(house, NIGHT_CAP.scope)) == (Spend(), Spend(0.0, 1.25))


def test_without_a_cap_all_is_let_and_counted(house: House) -> None:
    _reserve(house, ((Cap("run:a"),), 100.0))
    _settle(house, ((Cap("run:a"),), 100.0, 99.0))
    assert _find(house, "run:a") == Spend(99.0, 0.0)


def test_a_cap_that_is_met_exactly_is_met(house: House) -> None:
    third = Cap("run:a", 0.3)
    assert _reserve(house, ((third,), 0.1), ((third,), 0.1), ((third,), 0.1)) == [None] * 3


@pytest.mark.parametrize("hour", [0, 6, 11])
def test_a_night_is_one_from_noon_to_noon(hour: int) -> None:
    import datetime as dt  # noqa: PLC0415 - only here

    evening = dt.datetime(2026, 11, 22, 22, 0).astimezone().timestamp()
    morning = dt.datetime(2026, 11, 23, hour, 59).astimezone().timestamp()
    assert night_scope(evening) == night_scope(morning) == "night:2026-11-22"
    assert night_scope(morning + 13 * 3600) == "night:2026-11-23"
    assert run_scope("x") == "run:x"


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 100)), max_size=30))
def test_the_cap_is_never_passed_whatever_is_asked_and_settled(house: House, calls: list[tuple[int, int]]) -> None:
    cap = Cap(f"run:{id(calls)}-{len(calls)}-{sum(a for a, _ in calls)}", 1.0)
    before = _find(house, cap.scope).total_usd
    let = [worst / 100 for worst, _ in calls if _reserve(house, ((cap,), worst / 100)) == [None]]
    assert _find(house, cap.scope).total_usd <= 1.0 + 1e-9
    for (_, share), worst in zip(calls, let, strict=False):
        _settle(house, ((cap,), worst, worst * share / 100))
    assert before <= _find(house, cap.scope).total_usd <= 1.0 + 1e-9
