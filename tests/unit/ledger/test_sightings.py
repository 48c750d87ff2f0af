from __future__ import annotations

from overnight.ledger.sightings import record_told_of, see_schedules, was_told_of
from tests.conftest import House


def test_what_no_run_is_concerned_with_is_told_once_too(house: House) -> None:
    house.ledger.write(lambda c: record_told_of(c, "late", "f1", 1.0))
    house.ledger.write(lambda c: record_told_of(c, "late", "f1", 2.0))
    with house.ledger.reading() as connection:
        asked = [was_told_of(connection, *about) for about in (("late", "f1"), ("missing", "f1"), ("late", "f2"))]
    assert asked == [True, False, False]


def test_a_schedule_is_known_from_its_first_look_to_the_one_that_misses_it(house: House) -> None:
    looks = [(("a", "b"), 1.0), (("a",), 2.0), (("a", "b"), 3.0)]
    seen = [house.ledger.write(lambda c, n=names, t=at: see_schedules(c, "nights", n, t)) for names, at in looks]  # type: ignore[misc]
    assert seen == [{"a": 1.0, "b": 1.0}, {"a": 1.0}, {"a": 1.0, "b": 3.0}]


def test_a_pool_forgets_its_own_schedules_alone(house: House) -> None:
    pools = ("a_b", "axb", "A_B", "a_b:c", None)
    for at, pool in enumerate(pools):
        house.ledger.write(lambda c, p=pool, t=at: see_schedules(c, p, ["s"], 1.0 + t))  # type: ignore[misc]
    assert house.ledger.write(lambda c: see_schedules(c, "a_b", [], 9.0)) == {}
    seen = [house.ledger.write(lambda c, p=pool: see_schedules(c, p, ["s"], 10.0)) for pool in pools]  # type: ignore[misc]
    assert seen == [{"s": 10.0}, {"s": 2.0}, {"s": 3.0}, {"s": 4.0}, {"s": 5.0}]
