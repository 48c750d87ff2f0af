"""Rows that always fail are set aside by name; a fault that all rows share stops the run and blames none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fakes.provider import Scripted
from tests.trials.conftest import C, pick
from tests.trials.night import Night
from tests.trials.scripts import GOOD, Script

N_ROWS = pick(short=150, long=10_000)
TEXTS = ["some words"] * N_ROWS
#: Spread over the source, so that answers have been accepted before.
POISON = {f"r{N_ROWS * n // 6}" for n in range(1, 6)}
THREE = set(sorted(POISON)[:3])
BAD_REQUEST = Scripted(status=400, body={"error": {"message": "The input is not allowed"}})
NOT_AN_ANSWER = Scripted(text='{"label": "mauve", "quote": ""}')


@pytest.mark.parametrize(
    ("bad", "failure_class", "said", "n_calls"),
    [
        (BAD_REQUEST, "bad_request", "answered 400: The input is not allowed", 1),
        (NOT_AN_ANSWER, "schema_invalid", "mauve", 3),
    ],
    ids=["bad-request", "no-such-label"],
)
def test_three_poison_rows_are_named_and_the_others_done(
    open_night: Callable[..., Night],
    script: Script,
    say: Callable[[str], None],
    *,
    bad: Scripted,
    failure_class: str,
    said: str,
    n_calls: int,
) -> None:
    script.decide = lambda _, row: bad if row in THREE else GOOD
    night = open_night(TEXTS)
    ended = night.work()
    rows = [row for row in night.read_rows(ended) if row["state"] != "accepted"]
    say(
        f"poison ({failure_class}): {N_ROWS} rows, accepted {ended.n_accepted}, {len(script.given)} calls,"
        f" quarantined {', '.join(sorted(row['row_id'] for row in rows))}, {ended.seconds:.0f} s"
    )
    assert (ended.states, ended.why) == ((N_ROWS - 3, 3, 0), "")
    assert {row["row_id"] for row in rows} == THREE
    assert all(row["failure_class"] == failure_class and said in row["reason"] for row in rows)
    assert night.house.fetch("SELECT count(*), count(DISTINCT request_key) FROM quarantines") == [(3, 3)]
    assert len(script.given) == N_ROWS - 3 + 3 * n_calls
    # Remembered: nothing is asked again.
    with night.continued() as again:
        assert again.work().states == ended.states
    assert len(script.given) == N_ROWS - 3 + 3 * n_calls


def test_the_same_bad_request_on_five_rows_halts_the_run(
    open_night: Callable[..., Night], script: Script, say: Callable[[str], None]
) -> None:
    script.decide = lambda _, row: BAD_REQUEST if row in POISON else GOOD
    night = open_night(TEXTS)
    halted = night.work()
    say(f"five poison rows: accepted {halted.n_accepted}, quarantined {halted.n_quarantined}; {halted.why}")
    assert "5 rows failed with the same bad request" in halted.why
    assert "\n" not in halted.why
    # Others were answered: these five are to blame.
    assert halted.n_accepted > 0
    assert {row["row_id"] for row in night.read_rows(halted) if row["state"] == "quarantined"} == POISON
    with night.continued() as again:
        ended = again.work()
    assert (ended.states, ended.why) == ((N_ROWS - 5, 5, 0), "")
    assert len(script.given) == N_ROWS


def test_where_no_answer_was_accepted_no_row_is_to_blame(
    open_night: Callable[..., Night], script: Script, say: Callable[[str], None]
) -> None:
    script.decide = lambda *_: BAD_REQUEST
    night = open_night(TEXTS)
    halted, n_refused = night.work(), len(script.given)
    assert "5 rows failed with the same bad request" in halted.why
    assert 5 <= n_refused < 5 + C
    assert halted.states == (0, 0, N_ROWS)
    assert night.house.fetch("SELECT count(*) FROM quarantines") == [(0,)]

    script.decide = lambda *_: GOOD
    with night.continued() as again:
        ended = again.work()
    say(f"every request bad: halted after {n_refused} calls, quarantined 0; continued: accepted {ended.n_accepted}")
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    assert len(script.given) == n_refused + N_ROWS


def test_nor_is_a_row_whose_batch_was_over_before_the_run_halted(
    open_night: Callable[..., Night], script: Script
) -> None:
    # The second batch has three rows, and they fail first: its manifest is what a flow caches for good.
    last = {"r501", "r502", "r503"}
    script.decide = lambda _, row: BAD_REQUEST if row in last else replace(BAD_REQUEST, delay_s=0.5)
    halted = open_night(["some words"] * 503, concurrency=503).work()
    assert last <= {given.row for given in script.given}
    assert halted.states == (0, 0, 503)
