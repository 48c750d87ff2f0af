"""A key or a limit that goes in mid-run: at most C calls more, nothing in quarantine, and the run can be continued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.fakes.provider import Scripted
from tests.trials.conftest import C, pick
from tests.trials.night import Night
from tests.trials.scripts import GOOD, Script

N_ROWS = pick(short=120, long=10_000)
N_BEFORE = N_ROWS // 2
REVOKED = Scripted(status=401, body={"error": {"message": "Incorrect API key provided"}})
NO_CREDIT = Scripted(status=429, body={"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}})


@pytest.mark.parametrize(
    ("refusal", "said"),
    [(REVOKED, "answered 401: Incorrect API key"), (NO_CREDIT, "answered 429: You exceeded your quota")],
    ids=["key-revoked", "spend-limit"],
)
def test_at_most_c_calls_more_and_the_same_run_completes(
    open_night: Callable[..., Night],
    script: Script,
    say: Callable[[str], None],
    request: pytest.FixtureRequest,
    *,
    refusal: Scripted,
    said: str,
) -> None:
    script.decide = lambda n, _: GOOD if n < N_BEFORE else refusal
    night = open_night(["some words"] * N_ROWS)
    halted = night.work()
    refused = Counter(given.row for given in script.given if not given.is_good)
    assert halted.states == (N_BEFORE, 0, N_ROWS - N_BEFORE)
    assert night.house.fetch("SELECT count(*) FROM quarantines") == [(0,)]
    assert said in halted.why
    assert "\n" not in halted.why
    assert halted.n_passes == 1
    assert 1 <= refused.total() <= C
    assert set(refused.values()) == {1}

    n_calls, script.decide = len(script.given), lambda *_: GOOD
    with night.continued() as again:
        ended = again.work()
    name = request.node.callspec.id
    say(
        f"{name} after {N_BEFORE} of {N_ROWS} rows: {refused.total()} calls more,"
        f" quarantined {halted.n_quarantined}; continued: {len(script.given) - n_calls} calls,"
        f" {halted.seconds + ended.seconds:.0f} s; {halted.why}"
    )
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    assert len(script.given) - n_calls == N_ROWS - N_BEFORE
    assert len(script.count_good()) == script.count_good().total() == N_ROWS
