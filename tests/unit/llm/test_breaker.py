from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from overnight.failures import CallFailed
from overnight.llm.breaker import Breaker
from overnight.llm.opening import Outage, Pass
from overnight.taxonomy import FailureClass, FailureKind
from tests.fakes import virtual_time
from tests.fakes.virtual_time import clock

NIGHT = datetime(2026, 3, 1, 2, 0, 0, tzinfo=UTC)


def _down(retry_after_s: float | None = None, says: str = "gpt-fake is overloaded.") -> CallFailed:
    return CallFailed(FailureClass.OVERLOAD, says, retry_after_s=retry_after_s)


def _breaker(*, trip_after: int = 3, probe_s: float = 30, outage_s: float = 3600) -> Breaker:
    return Breaker(
        trip_after=trip_after, probe_s=probe_s, outage_s=outage_s, who="gpt-fake", clock=clock, now=lambda: NIGHT
    )


async def _fail(breaker: Breaker, n: int, failure: CallFailed | None = None) -> None:
    for _ in range(n):
        breaker.failed(await breaker.enter(), failure or _down())


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _probe(breaker: Breaker) -> Pass:
    """Wait for the right to probe, with nobody beside."""
    pass_ = await breaker.enter()
    assert pass_.is_probe
    assert breaker.lets(pass_)
    return pass_


@dataclass
class _Provider:
    """Answers in a second; while it is down it fails in one."""

    is_down: Callable[[], bool]
    times: list[float] = field(default_factory=list)

    async def call(self) -> None:
        self.times.append(clock())
        await asyncio.sleep(1)
        if self.is_down():
            raise _down()


async def _ask(breaker: Breaker, provider: _Provider) -> None:
    """As a row does: until it is answered."""
    while True:
        pass_ = await breaker.enter()
        try:
            # It waits for its turn elsewhere, and the breaker may open meanwhile.
            await asyncio.sleep(0)
            if not breaker.lets(pass_):
                continue
            await provider.call()
        except CallFailed as failure:
            breaker.failed(pass_, failure)
        else:
            breaker.succeeded(pass_)
            return
        finally:
            breaker.gave_up(pass_)


def test_ten_minutes_without_an_answer_cost_a_few_calls_and_then_two_a_minute():
    async def night() -> None:
        breaker, began = _breaker(trip_after=20), clock()
        provider = _Provider(is_down=lambda: clock() < began + 600)
        rows = asyncio.Queue[int]()
        [rows.put_nowait(n) for n in range(100)]

        async def work() -> None:
            while not rows.empty():
                rows.get_nowait()
                await _ask(breaker, provider)

        await asyncio.gather(*[work() for _ in range(8)])
        times = [t - began for t in provider.times]
        opened = 3
        assert len([t for t in times if t <= opened]) <= 20 + 8
        probes = [t for t in times if opened < t < 600]
        assert len(probes) <= 2 * 10
        assert min(b - a for a, b in pairwise(probes)) >= 30
        flowing = [t for t in times if t >= 600]
        # The first good probe, and then all eight at once until the rows are done.
        assert 600 <= flowing[0] <= 631
        assert flowing[-1] - flowing[0] <= 100 / 8 + 2
        assert len(flowing) == 100

    virtual_time.run(night())


def test_while_it_is_closed_everybody_passes_at_once():
    async def enter() -> None:
        breaker, began = _breaker(), clock()
        passes = [await breaker.enter() for _ in range(50)]
        assert all(breaker.lets(p) and not p.is_probe for p in passes)
        assert clock() == pytest.approx(began)

    virtual_time.run(enter())


def test_only_failures_in_a_row_open_it():
    async def fail() -> None:
        breaker = _breaker(trip_after=3)
        for _ in range(5):
            await _fail(breaker, 2)
            breaker.succeeded(await breaker.enter())
        pass_ = await breaker.enter()
        assert breaker.lets(pass_)
        await _fail(breaker, 3)
        assert not breaker.lets(pass_)

    virtual_time.run(fail())


def test_of_a_thousand_who_wait_one_probes_and_when_it_is_answered_all_go():
    async def crowd() -> None:
        breaker, began, entered = _breaker(), clock(), []
        await _fail(breaker, 3)

        async def enter() -> None:
            pass_ = await breaker.enter()
            entered.append(pass_)
            if pass_.is_probe:
                await asyncio.sleep(5)
                assert len(entered) == 1
                breaker.succeeded(pass_)

        await asyncio.gather(*[enter() for _ in range(1000)])
        assert len(entered) == 1000
        assert sum(p.is_probe for p in entered) == 1
        assert clock() - began == pytest.approx(35, abs=1e-3)

    virtual_time.run(crowd())


def test_those_who_wait_hold_one_timer_among_them():
    async def crowd() -> None:
        n_asleep = 0

        async def sleep(duration_s: float) -> None:
            nonlocal n_asleep
            n_asleep += 1
            await asyncio.sleep(duration_s)

        breaker = Breaker(trip_after=1, probe_s=30, outage_s=3600, clock=clock, sleep=sleep)
        breaker.failed(await breaker.enter(), _down())
        waiting = [asyncio.create_task(breaker.enter()) for _ in range(1000)]
        await _settle()
        assert n_asleep == 1
        [w.cancel() for w in waiting]
        await _settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual_time.run(crowd())


def test_a_failed_probe_is_followed_by_another_a_probe_s_time_later():
    async def probe() -> list[float]:
        breaker, began, times = _breaker(), clock(), []
        await _fail(breaker, 3)
        for _ in range(3):
            pass_ = await _probe(breaker)
            times.append(clock() - began)
            await asyncio.sleep(2)
            breaker.failed(pass_, _down())
        return times

    assert virtual_time.run(probe()) == pytest.approx([30, 62, 94], abs=1e-3)


def test_a_probe_that_is_due_goes_to_whoever_comes_next():
    async def probe() -> float:
        breaker = _breaker()
        await _fail(breaker, 3)
        await asyncio.sleep(100)
        began = clock()
        await _probe(breaker)
        return clock() - began

    assert virtual_time.run(probe()) == pytest.approx(0, abs=1e-3)


def test_calls_that_were_in_flight_when_it_opened_change_nothing():
    async def late() -> None:
        breaker = _breaker(trip_after=3)
        in_flight = [await breaker.enter() for _ in range(10)]
        assert all(breaker.lets(p) for p in in_flight)
        await _fail(breaker, 3)
        began = clock()
        breaker.failed(in_flight[0], _down(retry_after_s=500))
        breaker.succeeded(in_flight[1])
        breaker.gave_up(in_flight[2])
        probe = await _probe(breaker)
        assert clock() - began == pytest.approx(30, abs=1e-3)
        breaker.failed(in_flight[3], _down())
        assert breaker.lets(probe)
        breaker.succeeded(probe)
        # Not even after it closed: what they met was before.
        for pass_ in in_flight[4:]:
            breaker.failed(pass_, _down())
        assert breaker.lets(await breaker.enter())

    virtual_time.run(late())


def test_who_entered_before_it_opened_and_has_not_sent_must_enter_again():
    async def reopen() -> None:
        breaker = _breaker(trip_after=3)
        waiting = [await breaker.enter() for _ in range(3)]
        await _fail(breaker, 3)
        assert not any(breaker.lets(p) for p in waiting)
        breaker.succeeded(await _probe(breaker))
        # Closed meanwhile, they may send, and then their failures count as anybody's.
        assert all(breaker.lets(p) for p in waiting)
        for pass_ in waiting:
            breaker.failed(pass_, _down())
        assert not breaker.lets(waiting[0])

    virtual_time.run(reopen())


def test_after_it_closed_the_count_begins_anew():
    async def count() -> None:
        breaker = _breaker(trip_after=3)
        await _fail(breaker, 3)
        breaker.succeeded(await _probe(breaker))
        await _fail(breaker, 2)
        pass_ = await breaker.enter()
        assert breaker.lets(pass_)
        breaker.failed(pass_, _down())
        assert not breaker.lets(pass_)

    virtual_time.run(count())


def test_a_probe_that_gave_up_hands_its_right_to_who_waits():
    async def give_up() -> None:
        breaker = _breaker()
        await _fail(breaker, 3)
        first = await _probe(breaker)
        second = asyncio.create_task(breaker.enter())
        await asyncio.sleep(1)
        assert not second.done()
        breaker.gave_up(first)
        await _settle()
        assert second.result().is_probe
        assert breaker.lets(second.result())
        assert not breaker.lets(first)

    virtual_time.run(give_up())


def test_a_probe_whose_task_is_cancelled_hands_its_right_to_who_waits():
    async def cancel() -> None:
        breaker, provider = _breaker(), _Provider(is_down=lambda: False)
        await _fail(breaker, 3)
        rows = [asyncio.create_task(_ask(breaker, provider)) for _ in range(3)]
        await asyncio.sleep(30.5)
        assert len(provider.times) == 1
        rows[0].cancel()
        await asyncio.sleep(0.2)
        assert len(provider.times) == 2
        await asyncio.gather(*rows[1:])
        assert clock() - provider.times[0] < 4

    virtual_time.run(cancel())


def test_the_first_in_line_may_be_cancelled_and_the_next_takes_its_place():
    async def cancel() -> float:
        breaker, began = _breaker(), clock()
        await _fail(breaker, 3)
        waiting = [asyncio.create_task(breaker.enter()) for _ in range(5)]
        await asyncio.sleep(10)
        [w.cancel() for w in waiting[:3]]
        assert (await waiting[3]).is_probe
        waiting[4].cancel()
        return clock() - began

    assert virtual_time.run(cancel()) == pytest.approx(30, abs=1e-3)


def test_giving_up_after_a_report_does_nothing():
    async def report() -> None:
        breaker = _breaker()
        await _fail(breaker, 3)
        probe = await _probe(breaker)
        breaker.failed(probe, _down())
        breaker.gave_up(probe)
        began = clock()
        again = await _probe(breaker)
        assert clock() - began == pytest.approx(30, abs=1e-3)
        breaker.succeeded(again)
        breaker.gave_up(again)
        assert breaker.lets(again)

    virtual_time.run(report())


def test_open_for_too_long_everybody_who_waits_is_told_to_halt():
    async def wait() -> list[BaseException]:
        breaker, began = _breaker(outage_s=600), clock()
        await _fail(breaker, 3)

        async def row() -> None:
            while True:
                pass_ = await breaker.enter()
                breaker.failed(pass_, CallFailed(FailureClass.CONNECT, "gpt-fake cannot be\nreached."))

        ends = await asyncio.gather(*[row() for _ in range(1000)], return_exceptions=True)
        assert clock() - began == pytest.approx(600, abs=1e-3)
        return ends

    ends = virtual_time.run(wait())
    assert Counter(type(e) for e in ends) == {Outage: 1000}
    assert len({id(e) for e in ends}) == 1000
    outage = ends[0]
    assert isinstance(outage, CallFailed)
    # Of the class that opened it, but it is not sent again.
    assert (outage.failure_class, outage.kind) == (FailureClass.OVERLOAD, FailureKind.HALT)
    assert str(outage) == (
        "gpt-fake has not answered for 10 min. The last failure said: gpt-fake cannot be reached. "
        "Run again when it answers: what was answered is kept."
    )


def test_who_comes_soon_after_an_outage_is_told_too_and_who_comes_later_may_probe():
    async def come() -> None:
        breaker = _breaker(outage_s=600)
        await _fail(breaker, 3)
        await asyncio.sleep(610)
        with pytest.raises(Outage):
            await breaker.enter()
        await asyncio.sleep(3600)
        began = clock()
        probe = await _probe(breaker)
        waiting = asyncio.create_task(breaker.enter())
        await asyncio.sleep(120)
        assert not waiting.done()
        breaker.succeeded(probe)
        assert not (await waiting).is_probe
        assert clock() - began == pytest.approx(120, abs=1e-3)

    virtual_time.run(come())


def test_a_new_run_after_an_outage_has_the_whole_time_again():
    async def come() -> float:
        breaker = _breaker(outage_s=600)
        await _fail(breaker, 3)
        await asyncio.sleep(10_000)
        began = clock()
        with pytest.raises(Outage):
            await _fail(breaker, 1000)
        return clock() - began

    assert virtual_time.run(come()) == pytest.approx(600, abs=1e-3)


def test_the_provider_may_put_the_next_probe_off():
    async def wait() -> list[float]:
        breaker, began, times = _breaker(), clock(), []
        await _fail(breaker, 3, _down(retry_after_s=100))
        for retry_after_s in (5, 200, None):
            pass_ = await _probe(breaker)
            times.append(clock() - began)
            breaker.failed(pass_, _down(retry_after_s))
        return times

    assert virtual_time.run(wait()) == pytest.approx([100, 130, 330], abs=1e-3)


PUT_OFF = (
    "gpt-fake does not answer, and wants to be asked again at 2026-03-01 04:00 UTC. The last failure said: "
    "gpt-fake is overloaded. Run again when it answers: what was answered is kept."
)


def test_put_off_by_a_probe_to_after_the_outage_everybody_who_waits_is_told_at_once():
    async def wait() -> list[BaseException]:
        breaker = _breaker()
        await _fail(breaker, 3)
        waiting = [asyncio.create_task(breaker.enter()) for _ in range(6)]
        probe = await waiting.pop(0)
        assert probe.is_probe
        breaker.failed(probe, _down(retry_after_s=7200))
        began = clock()
        ends = await asyncio.gather(*waiting, breaker.enter(), return_exceptions=True)
        assert clock() == pytest.approx(began, abs=1e-3)
        return ends

    ends = virtual_time.run(wait())
    assert [(type(e), str(e)) for e in ends] == [(Outage, PUT_OFF)] * 6


def test_put_off_when_it_opens_whoever_comes_before_that_time_is_told():
    async def come() -> None:
        breaker = _breaker()
        await _fail(breaker, 3, _down(retry_after_s=7200))
        with pytest.raises(Outage) as caught:
            await breaker.enter()
        assert str(caught.value) == PUT_OFF
        await asyncio.sleep(3600)
        with pytest.raises(Outage, match="asked again at 2026-03-01 03:00 UTC"):
            await breaker.enter()
        await asyncio.sleep(3601)
        await _probe(breaker)

    virtual_time.run(come())


@pytest.mark.parametrize("absurd_s", [1e15, float("inf")])
def test_put_off_for_an_absurd_time_it_still_names_a_date(absurd_s):
    async def come() -> None:
        breaker = _breaker()
        await _fail(breaker, 3, _down(retry_after_s=absurd_s))
        with pytest.raises(Outage, match="asked again at 2027-03-02"):
            await breaker.enter()

    virtual_time.run(come())


def test_a_probe_that_answers_after_the_outage_closes_it_all_the_same():
    async def late() -> None:
        breaker = _breaker(outage_s=100)
        await _fail(breaker, 3)
        probe = await _probe(breaker)
        with pytest.raises(Outage):
            await breaker.enter()
        breaker.succeeded(probe)
        assert not (await breaker.enter()).is_probe

    virtual_time.run(late())


def test_a_probe_that_fails_after_the_outage_leaves_it_as_it_is():
    async def late() -> None:
        breaker = _breaker(outage_s=100)
        await _fail(breaker, 3)
        probe = await _probe(breaker)
        await asyncio.sleep(80)
        breaker.failed(probe, _down())
        with pytest.raises(Outage, match="has not answered for 2 min"):
            await breaker.enter()

    virtual_time.run(late())


def test_without_patience_it_is_an_outage_as_soon_as_it_opens():
    async def enter() -> None:
        breaker = _breaker(probe_s=0, outage_s=0)
        await _fail(breaker, 3)
        with pytest.raises(Outage, match="has not answered for 0 s"):
            await breaker.enter()

    virtual_time.run(enter())


def test_its_own_clock_and_sleep_are_the_real_ones_unless_told_otherwise():
    async def enter() -> None:
        breaker = Breaker(trip_after=1, probe_s=0.001, outage_s=60)
        breaker.failed(await breaker.enter(), _down())
        breaker.succeeded(await _probe(breaker))

    asyncio.run(enter())
