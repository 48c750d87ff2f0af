"""A provider that half fails: no row is lost, no answer is paid for twice, and calls in flight come back."""

from __future__ import annotations

from collections.abc import Callable

from tests.trials.conftest import C, pick
from tests.trials.night import Night
from tests.trials.scripts import Script, make_storm

N_ROWS = pick(short=300, long=10_000)
#: Calls that the storm takes: what is left afterwards shows that the limit recovers.
N_STORM = pick(short=300, long=18_000)
DEADLINE_S = 1.0


def test_a_brown_out_loses_no_row_and_pays_for_none_twice(
    open_night: Callable[..., Night], script: Script, say: Callable[[str], None]
) -> None:
    script.decide = make_storm(range(N_STORM), hang_s=60.0)
    n_slots = pick(short=8, long=C)
    night = open_night(["some words"] * N_ROWS, concurrency=n_slots, call_timeout_s=DEADLINE_S)
    ended = night.work()

    good = script.count_good()
    accepted = [i for (i,) in night.house.fetch("SELECT provider_request_id FROM attempts WHERE outcome = 'accepted'")]
    a_row = N_STORM / sum(given.is_good for given in script.given[:N_STORM])
    say(
        f"brown-out: {N_ROWS} rows, {len(script.given)} calls, {len(script.given) / N_ROWS:.2f} a row"
        f" ({a_row:.2f} in the storm), passes {ended.n_passes}, lost {N_ROWS - len(accepted)},"
        f" paid twice {good.total() - len(good)}, limit {night.engine.limiter.limit} of {n_slots},"
        f" {ended.seconds:.0f} s"
    )
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    assert ended.n_passes <= 4
    # A busy machine may have an answer come after its deadline: such a call is a time-out that was billed, and counted.
    n_late = count_timeouts(night) - sum(given.scripted.delay_s > DEADLINE_S for given in script.given)
    assert len(good) == len(accepted) == N_ROWS
    assert good.total() - N_ROWS <= n_late
    assert set(accepted) <= {given.call_id for given in script.good}
    assert night.house.fetch("SELECT count(*), count(DISTINCT request_key) FROM completions") == [(N_ROWS, N_ROWS)]
    [(n_sent,)] = night.house.fetch("SELECT count(*) FROM attempts WHERE outcome <> 'unsent'")
    assert n_sent == len(script.given)
    assert 1.5 <= a_row <= 2.6
    assert night.engine.limiter.limit == n_slots


def count_timeouts(night: Night) -> int:
    """Calls that were waited for until their deadline: cut-off ones are of the same class, and say otherwise."""
    query = "SELECT count(*) FROM attempts WHERE failure_class = 'timeout' AND message LIKE '%did not answer whole%'"
    [(n,)] = night.house.fetch(query)
    return int(n)
