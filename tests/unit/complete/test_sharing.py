"""Limits that several processes keep to together, and halts that all of them hear."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from overnight.complete.money import OverBudget, recall_halt
from overnight.complete.sharing import Shares
from overnight.failures import CallFailed, RunHalted
from overnight.ledger.halts import find_halts, record_halt
from overnight.ledger.spend import Cap, Shortfall
from overnight.llm import Limiter, Rates
from overnight.taxonomy import FailureClass
from tests.conftest import DATABASES, RUN
from tests.fakes.provider import FakeProvider, Scripted
from tests.unit.complete.conftest import Desk
from tests.unit.complete.test_halts import NO_KEY, wait_for

ASKED = frozenset({"openai:gpt-fake"})
TEXTS = [f"row {n}" for n in range(12)]
STOPPED = CallFailed(FailureClass.STOPPED, "It was stopped by hand.")


def _divide(n: int, most: int) -> list[int]:
    """The parts of so many processes that all see each other."""
    parts = []
    for me in range(1, n + 1):
        shares = Shares(limiter := Limiter(most), most)
        shares.heed(dict.fromkeys(range(1, n + 1), ASKED), me, [])
        parts.append(limiter.limit)
    return parts


@pytest.mark.parametrize(("n", "most", "parts"), [(1, 8, [8]), (2, 8, [4, 4]), (3, 8, [3, 3, 2]), (3, 2, [1, 1, 1])])
def test_all_parts_together_are_the_limit_and_nobody_has_none(n: int, most: int, parts: list[int]) -> None:
    assert _divide(n, most) == parts


def test_a_part_shrinks_at_once_and_grows_at_the_second_look() -> None:
    shares = Shares(limiter := Limiter(8), 8)
    seen = []
    for asking in ({1: ASKED}, {1: ASKED, 2: ASKED}, {1: ASKED}, {1: ASKED}):
        shares.heed(asking, 1, [])
        seen.append(limiter.limit)
    assert seen == [8, 4, 4, 8]


def test_those_that_begin_together_divide_before_they_have_seen_each_other() -> None:
    shares = Shares(limiter := Limiter(8), 8)
    shares.expect(4)
    assert limiter.limit == 2
    shares.heed({}, 1, [])
    assert limiter.limit == 2
    shares.heed({1: ASKED}, 1, [])
    assert limiter.limit == 8


def test_who_asks_embedded_models_alone_takes_no_part() -> None:
    shares = Shares(limiter := Limiter(8), 8)
    shares.heed({1: ASKED, 2: frozenset({"local:small"})}, 1, [])
    assert limiter.limit == 8


def test_limits_a_minute_are_divided_among_those_that_ask_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, int] = {}
    shares = Shares(Limiter(8), 8)
    rates = []
    for model in ("openai:gpt-fake", "openai:gpt-larger"):
        each = Rates(60, None)
        monkeypatch.setattr(each, "share", lambda n, model=model: told.update({model: n}))
        rates.append((model, each))
    shares.heed({1: ASKED, 2: ASKED, 3: frozenset({"openai:gpt-larger"})}, 1, rates)
    assert told == {"openai:gpt-fake": 2, "openai:gpt-larger": 2}


@pytest.mark.parametrize("database", DATABASES)
def test_two_processes_keep_to_one_limit(
    open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setattr("overnight.complete.pulse.EVERY_S", 0.02)
    seen: list[tuple[int, int]] = []
    with _answering_when_told() as (fake, go), _answering_when_told() as (other_fake, other_go):
        first = replace(open_desk(concurrency=4, call_timeout_s=60.0), fake=fake)
        second = replace(open_desk(concurrency=4, call_timeout_s=60.0), fake=other_fake)
        limiter, other = first.engine.limiter, second.engine.limiter

        def look(_: object) -> Scripted:
            seen.append((limiter.limit, limiter.in_flight))
            return Scripted()

        batches = [first.house.read_batch([f"{n}: {text}" for text in TEXTS], n) for n in (1, 2)]
        with ThreadPoolExecutor(2) as pool, _setting(go, other_go):
            one = pool.submit(first.complete, batches[0])
            wait_for(lambda: bool(fake.calls) and limiter.in_flight == 4)
            two = pool.submit(second.complete, batches[1])
            wait_for(lambda: bool(other_fake.calls))
            # Who comes makes room for itself before it asks; who was there hears of it with its calls in flight.
            assert (other.limit, other.in_flight <= 2) == (2, True)
            wait_for(lambda: limiter.limit == 2)
            fake.answer = look
            go.set()
            assert one.result(30).n_accepted == len(TEXTS)
            # The first four were in flight before; of the others none goes out beside more than one.
            assert {limit for limit, _ in seen} == {2}
            assert max(n for _, n in seen[-(len(TEXTS) - 4) :]) <= 2
            # Who is left has all of it again.
            wait_for(lambda: other.limit == 4)
            other_go.set()
            assert two.result(30).n_accepted == len(TEXTS)


@contextlib.contextmanager
def _answering_when_told() -> Iterator[tuple[FakeProvider, threading.Event]]:
    """A provider that answers nobody before the event is set."""
    go = threading.Event()

    def answer(_: object) -> Scripted:
        assert go.wait(30)
        return Scripted()

    with FakeProvider(answer) as fake:
        yield fake, go


@contextlib.contextmanager
def _setting(*events: threading.Event) -> Iterator[None]:
    """In the end, whatever came: nobody is left waiting."""
    try:
        yield
    finally:
        for event in events:
            event.set()


@pytest.mark.parametrize("database", DATABASES)
def test_a_halt_of_one_process_is_heard_by_the_others(
    open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setattr("overnight.complete.pulse.EVERY_S", 0.02)
    first, second = open_desk(concurrency=1), open_desk(concurrency=1)
    # Both are in the pass before anything stops it.
    contexts = [desk.engine.context(RUN) for desk in (first, second)]
    for context in contexts:
        context.cleared.result()

    def answer(_: object) -> Scripted:
        if len(first.fake.calls) == 3:
            contexts[0].halt(STOPPED)
            assert contexts[1].stopping.wait(10)
        return Scripted()

    first.fake.answer = answer
    assert second.list_states(TEXTS).count("pending") >= len(TEXTS) - 4
    assert second.why_halted() == "It was stopped by hand."


def test_a_new_pass_begins_without_what_stopped_the_one_before(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.fake.answer = lambda _: NO_KEY
    desk.ask(["one"])
    wait_for(lambda: (RUN, 0) in desk.house.ledger.read(lambda c: find_halts(c, [RUN])))
    desk.engine.begin_pass(RUN).cleared.result()
    desk.fake.answer = lambda _: Scripted()
    assert desk.list_states(["one"]) == ["accepted"]
    assert desk.house.ledger.read(lambda c: find_halts(c, [RUN])) == {}


def test_who_joins_a_pass_hears_at_once_that_it_stops_and_the_next_one_begins_anew(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk()
    desk.house.ledger.write(lambda c: record_halt(c, RUN, 1, STOPPED, time.time()))
    joined = desk.engine.join_pass(RUN, 1, n_processes=2)
    assert str(joined.halted) == "It was stopped by hand."
    assert desk.engine.join_pass(RUN, 1, n_processes=2) is joined
    assert desk.list_states(["one"]) == ["pending"]
    open_desk().engine.begin_pass(RUN, 2).cleared.result()
    assert desk.engine.join_pass(RUN, 2, n_processes=2).halted is None
    assert desk.list_states(["one"]) == ["accepted"]


def test_what_stops_a_pass_stops_the_earlier_ones_and_none_that_is_newer(open_desk: Callable[..., Desk]) -> None:
    first, second = open_desk(), open_desk()
    earlier, newer = first.engine.join_pass(RUN, 1, n_processes=2), second.engine.begin_pass(RUN, 2)
    newer.cleared.result()
    for n_pass, hears in ((1, (True, False)), (2, (True, True))):
        first.house.ledger.write(lambda c, n=n_pass: record_halt(c, RUN, n, STOPPED, time.time()))  # type: ignore[misc]
        for desk in (first, second):
            desk.engine.hear(RUN)
        assert (earlier.halted is not None, newer.halted is not None) == hears


def test_an_earlier_pass_hears_of_the_newer_ones_halt(open_desk: Callable[..., Desk]) -> None:
    first, second = open_desk(), open_desk()
    earlier = first.engine.join_pass(RUN, 1, n_processes=2)
    second.engine.begin_pass(RUN, 2).halt(STOPPED)
    wait_for(lambda: (RUN, 2) in first.house.ledger.read(lambda c: find_halts(c, [RUN])))
    first.engine.hear(RUN)
    assert str(earlier.halted) == "It was stopped by hand."


def test_a_process_that_joins_a_newer_pass_asks_nothing_more_for_the_earlier_one(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk()
    earlier = desk.engine.join_pass(RUN, 1, n_processes=2)
    newer = desk.engine.join_pass(RUN, 2, n_processes=2)
    with pytest.raises(RunHalted, match="A newer pass of run night-1 has begun"):
        earlier.raise_if_halted()
    with pytest.raises(RunHalted, match="A newer pass of run night-1 has begun"):
        desk.engine.join_pass(RUN, 1, n_processes=2)
    assert (desk.engine.context(RUN) is newer, newer.halted) == (True, None)
    # Nobody else is told: it is no fault of the run's.
    assert desk.house.ledger.read(lambda c: find_halts(c, [RUN])) == {}


def test_a_halt_by_the_budget_is_recalled_with_what_the_next_call_may_cost() -> None:
    told = OverBudget(Shortfall(Cap("run:night-1", 1.0), 0.25, 0.9, 0.0))
    recalled = recall_halt(CallFailed(told.failure_class, str(told)))
    assert isinstance(recalled, OverBudget)
    assert (str(recalled), recalled.worst_usd) == (str(told), 0.25)
    assert recall_halt(STOPPED) is STOPPED
