"""A provider that is down: a few calls, then one probe at a time, and everything is answered when it is back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.fakes.provider import FakeProvider, Scripted
from tests.trials.conftest import C, pick
from tests.trials.night import Night
from tests.trials.scripts import GOOD, Script

TEXTS = ["some words"] * pick(short=100, long=2_000)
PROBE_S = pick(short=0.05, long=30.0)
#: Failures in a row that open the breaker.
TRIP_AFTER = 20
DOWN = Scripted(status=503, body="The service is down for maintenance")


@contextmanager
def refusing(answer: Script, for_s: float) -> Iterator[tuple[FakeProvider, threading.Timer]]:
    """A provider whose port refuses connections until so long after the timer's start."""
    holder = socket.socket()
    # Bound and not listened to: refused, and nobody else's meanwhile.
    holder.bind(("127.0.0.1", 0))
    provider = FakeProvider(answer, port=holder.getsockname()[1])

    def come_back() -> None:
        holder.close()
        provider.__enter__()

    timer = threading.Timer(for_s, come_back)
    try:
        yield provider, timer
    finally:
        timer.join()
        provider.__exit__()


def check_calls(failed_at: list[float], down_s: float) -> None:
    """At most 20 + C until it opens, then one a probe's time."""
    assert TRIP_AFTER < len(failed_at) <= TRIP_AFTER + C + down_s / PROBE_S + 1
    # Of the first 20 + C some may be probes; all after them are.
    assert all(after - before >= 0.9 * PROBE_S for before, after in pairwise(failed_at[TRIP_AFTER + C :]))


def test_503_for_a_while(open_night: Callable[..., Night], script: Script, say: Callable[[str], None]) -> None:
    down_s = pick(short=0.7, long=100.0)
    night = open_night(TEXTS, probe_s=PROBE_S, outage_s=3600.0)
    down_at: list[float] = []

    def decide(*_: object) -> Scripted:
        down_at.append(time.time())
        return DOWN if time.time() < down_at[0] + down_s else GOOD

    script.decide = decide
    ended = night.work()
    failed_at = [given.time for given in script.given if not given.is_good]
    say(
        f"503 for {down_s:g} s: {len(TEXTS)} rows, {len(failed_at)} calls in vain, accepted {ended.n_accepted},"
        f" passes {ended.n_passes}, {ended.seconds:.1f} s"
    )
    check_calls(failed_at, down_s)
    assert (ended.states, ended.why) == ((len(TEXTS), 0, 0), "")
    assert set(script.count_good().values()) == {1}


def test_no_connection_for_a_while(open_night: Callable[..., Night], say: Callable[[str], None]) -> None:
    down_s, script = pick(short=0.7, long=600.0), Script()
    with refusing(script, down_s) as (provider, timer):
        night = open_night(TEXTS, probe_s=PROBE_S, outage_s=3600.0, endpoint=provider.openai_base_url)
        timer.start()
        ended = night.work()
    failed = night.house.fetch("SELECT closed_at, failure_class FROM attempts WHERE outcome = 'failed' ORDER BY 1")
    say(
        f"no connection for {down_s:g} s: {len(TEXTS)} rows, {len(failed)} calls in vain,"
        f" accepted {ended.n_accepted}, passes {ended.n_passes}, {ended.seconds:.1f} s"
    )
    assert {failure_class for _, failure_class in failed} == {"connect"}
    check_calls([closed_at for closed_at, _ in failed], down_s)
    assert (ended.states, ended.why) == ((len(TEXTS), 0, 0), "")
    assert set(script.count_good().values()) == {1}


@pytest.mark.parametrize("is_same_process", [True, False], ids=["same-process", "another-process"])
def test_an_outage_that_lasts_halts_the_run_and_it_can_be_continued(
    open_night: Callable[..., Night], script: Script, say: Callable[[str], None], *, is_same_process: bool
) -> None:
    script.decide = lambda *_: DOWN
    outage_s, probe_s = pick(short=1.5, long=5.0), pick(short=0.1, long=1.0)
    night = open_night(TEXTS, probe_s=probe_s, outage_s=outage_s)
    halted = night.work()
    assert halted.states == (0, 0, len(TEXTS))
    assert "has not answered for" in halted.why
    assert "\n" not in halted.why
    assert outage_s <= halted.seconds <= outage_s + 5.0
    n_in_vain = len(script.given)
    assert n_in_vain <= TRIP_AFTER + C + outage_s / probe_s + 1

    script.decide = lambda *_: GOOD
    if is_same_process:
        # Whoever comes sooner is told what the run before it was told.
        time.sleep(2 * probe_s)
        ended = night.work()
    else:
        with night.continued() as again:
            ended = again.work()
    say(f"down for longer than a run waits: halted after {halted.seconds:.1f} s, {n_in_vain} calls: {halted.why}")
    assert (ended.states, ended.why) == ((len(TEXTS), 0, 0), "")
    assert len(script.given) == n_in_vain + len(TEXTS)
