"""A night whose rows go to the provider in batches: half the price, and every row once whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from overnight.complete import follow_batches
from overnight.ledger.provider_batches import list_batches
from overnight.records import BatchState
from tests.conftest import House
from tests.fakes.batches import FakeItem, Trouble
from tests.fakes.provider import FakeProvider, Scripted
from tests.trials.batch_night import MODELS, N_ROWS, BatchNight, count_states, list_calls
from tests.trials.books import check_books, count_outcomes
from tests.trials.conftest import pick
from tests.trials.night import cut_source
from tests.trials.scripts import find_row

Open = Callable[..., BatchNight]


@pytest.fixture(params=list(MODELS))
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_rows_are_answered_by_batches_and_none_by_a_call(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.seed, fake.batches.ends_after = 7, 2
    ended = open_batches(batch_rows=25).work_in_batches()
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    assert [len(batch.items) for batch in fake.batches.received] == [25, 25, 10]
    assert sum(fake.batches.executed.values()) == N_ROWS
    assert list_calls(fake) == []
    check_books(house, N_ROWS)


def test_a_batch_costs_half_of_what_calls_do(open_batches: Open, house: House) -> None:
    night = open_batches()
    night.work_in_batches()
    [(together,)] = house.fetch("SELECT sum(cost_usd) FROM attempts")
    house.tamper("DELETE FROM completions")
    house.tamper("UPDATE attempts SET outcome = 'failed', failure_class = 'empty'")
    night.work()
    [(apart,)] = house.fetch("SELECT sum(cost_usd) FROM attempts WHERE outcome = 'accepted'")
    assert together == pytest.approx(apart / 2)


def test_an_answer_of_a_batch_is_a_hit_for_calls_and_the_reverse(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    first = open_batches()
    first.work_in_batches()
    house.begin("night-2")
    assert replace(first, run_id="night-2").work().states == (N_ROWS, 0, 0)
    assert list_calls(fake) == []
    more = replace(first, run_id="night-2", batches=cut_source(house.home, ["other words"] * N_ROWS, "more"))
    more.work()
    n_calls, n_batches = len(list_calls(fake)), len(fake.batches.received)
    house.begin("night-3")
    assert replace(more, run_id="night-3").work_in_batches().states == (N_ROWS, 0, 0)
    assert (len(list_calls(fake)), len(fake.batches.received)) == (n_calls, n_batches)


#: Items of a batch that come to nothing.
N_LOST = 41


def test_of_many_rows_exactly_those_are_sent_again_that_were_lost(
    open_batches: Open, fake: FakeProvider, house: House, say: Callable[[str], None]
) -> None:
    n_rows = pick(short=1_000, long=20_000)
    lost: dict[str, str] = {}

    def decide(item: FakeItem) -> str | Scripted | None:
        row = find_row(item.body)
        number = int(row.removeprefix("r"))
        if row in lost or len(lost) == N_LOST or number % (n_rows // N_LOST):
            return None
        kind = lost[row] = ("expired", "canceled", "errored")[len(lost) % 3]
        return Scripted(status=500) if kind == "errored" else kind

    fake.batches.decide, fake.batches.seed = decide, 11
    ended = open_batches(n_rows, batch_rows=n_rows // 2).work_in_batches()
    again = [find_row(item.body) for batch in fake.batches.received[2:] for item in batch.items]
    n_paid = sum(fake.batches.executed.values())
    say(
        f"{n_rows:,} rows in {len(fake.batches.received)} provider batches, {len(lost)} items lost, {len(again)} sent"
        f" again, {n_paid:,} paid for, {ended.seconds:.1f} s"
    )
    assert (ended.states, ended.why, len(lost)) == ((n_rows, 0, 0), "", N_LOST)
    assert sorted(again) == sorted(lost)
    assert n_paid == n_rows
    assert list_calls(fake) == []
    check_books(house, n_rows)


def test_an_item_that_always_expires_is_sent_four_times_and_left(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.decide = lambda item: "expired" if find_row(item.body) == "r7" else None
    night = open_batches()
    ended = night.work_in_batches()
    assert ended.states == (N_ROWS - 1, 0, 1)
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS, 1, 1, 1]
    [row] = [row for row in night.read_rows(ended) if row["state"] == "pending"]
    assert (row["row_id"], row["failure_class"]) == ("r7", "expired")


def test_where_there_is_a_deadline_such_an_item_is_asked_online_after_that(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.decide = lambda item: "expired" if find_row(item.body) == "r7" else None
    night = open_batches()
    house.tamper("UPDATE runs SET by_at = :at", at=time.time() + 86_400)
    ended = night.work_in_batches()
    assert ended.states == (N_ROWS, 0, 0)
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS, 1, 1, 1]
    assert [find_row(body) for body in list_calls(fake)] == ["r7"]
    check_books(house, N_ROWS)


def test_answers_that_do_not_do_are_asked_again_online(open_batches: Open, fake: FakeProvider, house: House) -> None:
    fake.batches.decide = lambda item: Scripted(text="no JSON") if find_row(item.body) in ("r3", "r5") else None
    ended = open_batches().work_in_batches()
    assert ended.states == (N_ROWS, 0, 0)
    assert len(fake.batches.received) == 1
    asked = list_calls(fake)
    assert sorted(find_row(body) for body in asked) == ["r3", "r5"]
    # The conversation goes on where the batch left it.
    assert all("no JSON" in str(body["messages"]) for body in asked)
    check_books(house, N_ROWS)


def test_where_many_answers_do_not_do_they_are_asked_again_in_the_next_batch(
    open_batches: Open, fake: FakeProvider
) -> None:
    asked: set[str] = set()

    def decide(item: FakeItem) -> Scripted | None:
        row = find_row(item.body)
        is_first = row not in asked
        asked.add(row)
        return Scripted(text="no JSON") if is_first else None

    fake.batches.decide = decide
    ended = open_batches(150).work_in_batches()
    assert ended.states == (150, 0, 0)
    assert (len(list_calls(fake)), [len(batch.items) for batch in fake.batches.received]) == (100, [150, 50])


#: What happens to a submit, and whether the provider has the batch.
SUBMITS = {
    "dropped-before": (Trouble("create"), False),
    "dropped-after": (Trouble("create", is_done=True), True),
    "500-before": (Trouble("create", status=500), False),
    "500-after": (Trouble("create", is_done=True, status=500), True),
    "cut-after": (Trouble("create", is_done=True, cut_at=5), True),
    "429": (Trouble("create", status=429), False),
}


@pytest.mark.parametrize("submit", list(SUBMITS))
def test_a_submit_whose_answer_is_lost_is_found_again_or_sent_once_more(
    open_batches: Open, fake: FakeProvider, house: House, submit: str
) -> None:
    fake.batches.troubles.append(replace(SUBMITS[submit][0]))
    fake.batches.add_others("openai" if "gpt" in MODELS["openai"] else "", 0, owner="")
    ended = open_batches(batch_grace_s=0.0).work_in_batches()
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
    assert set(fake.batches.executed.values()) == {1}
    check_books(house, N_ROWS)


def test_a_batch_that_nobody_can_find_is_in_doubt_and_never_sent_again(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.troubles += [Trouble("create", is_done=True), Trouble("list", status=403, n=100)]
    night = open_batches(batch_grace_s=0.0)
    ended = night.work_in_batches()
    assert ended.states == (0, 0, N_ROWS)
    assert {row["failure_class"] for row in night.read_rows(ended)} == {"in_doubt"}
    assert count_states(house) == {"in_doubt": 1}
    [(reason,)] = house.fetch("SELECT reason FROM provider_batches")
    lost, _, searched = reason.partition(" It was looked for: ")
    assert " may have batch " in lost
    assert searched.startswith("the list of batches is not shown, so nobody can tell (")
    assert " answered 403" in searched
    # What is advised for a call would send people the wrong way.
    assert "run again" not in reason
    # Another run does not ask them either.
    house.begin("night-2")
    assert replace(night, run_id="night-2").work().states == (0, 0, N_ROWS)
    assert list_calls(fake) == []
    assert len(fake.batches.received) == 1


@pytest.mark.parametrize("code", ["token_limit_exceeded", "invalid_json_line"])
@pytest.mark.parametrize("vendor", ["openai"])
def test_a_batch_that_is_refused_as_a_whole_is_sent_again_or_halts_the_run(
    open_batches: Open, fake: FakeProvider, code: str
) -> None:
    fake.batches.fails = [(code, "as told")]
    ended = open_batches().work_in_batches()
    if code == "token_limit_exceeded":
        assert (ended.states, ended.why, len(fake.batches.received)) == ((N_ROWS, 0, 0), "", 2)
    else:
        assert ended.states == (0, 0, N_ROWS)
        assert "as told" in ended.why


def test_a_cap_is_kept_and_what_does_not_fit_goes_with_the_next_batch(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    night = open_batches()
    night.work_in_batches()
    [(worst, spent)] = house.fetch("SELECT max(reserved_usd), sum(cost_usd) FROM attempts")
    more = cut_source(house.home, ["other words"] * N_ROWS, "more")
    house.begin("night-2")
    cap_usd = worst * N_ROWS / 2
    with night.continued(budget_usd=cap_usd) as capped:
        ended = replace(capped, run_id="night-2", batches=more).work_in_batches()  # type: ignore[attr-defined]
    assert spent < cap_usd
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    assert len(fake.batches.received) > 2
    check_books(house, 2 * N_ROWS)


def test_a_night_that_misses_its_deadline_ends_online_and_every_row_is_paid_for_once(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.ends_after, fake.batches.cancel_looks = None, 2
    fake.batches.is_done_at_cancel = lambda item: int(find_row(item.body)[1:]) % 3 == 0
    night = open_batches(batch_rows=25)
    turns = 0

    def wait() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            # It is late for all of its rows, and would not be for those alone that come back.
            house.tamper("UPDATE runs SET by_at = :at", at=time.time() + 902)
        # As the schedule does, more than once before the run is woken.
        for _ in range(2):
            follow_batches(house.ledger, night.engine.settings)

    ended = night.work_in_batches(wait)
    assert (ended.states, ended.why) == ((N_ROWS, 0, 0), "")
    rows = [find_row(body) for body in list_calls(fake)]
    assert sum(fake.batches.executed.values()) == N_ROWS // 3
    assert sorted(rows) == sorted(f"r{n}" for n in range(1, N_ROWS + 1) if n % 3)
    assert count_outcomes(house) == {"accepted": N_ROWS, "failed": len(rows)}
    assert {b.state for b in house.ledger.read(list_batches)} == {BatchState.ENDED}
    check_books(house, N_ROWS)
