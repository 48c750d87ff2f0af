"""What else may happen around provider batches: other runs, other keys, long sleeps, odd answers and late ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from overnight.complete import Turn, follow_batches
from overnight.complete.provider import packing, sending
from overnight.taxonomy import MAX_ATTEMPTS
from tasks.batches import is_due
from tests.conftest import DATABASES, RUN, House
from tests.fakes.batches import FakeItem, Trouble
from tests.fakes.provider import FakeProvider, Scripted
from tests.trials.batch_night import (
    MODELS,
    N_ROWS,
    BatchNight,
    count_items,
    count_states,
    lapse_leases,
    list_calls,
)
from tests.trials.books import check_books, count_outcomes
from tests.trials.conftest import pick
from tests.trials.night import cut_source
from tests.trials.scripts import find_row

Open = Callable[..., BatchNight]
WHOLE = (N_ROWS, 0, 0)
OTHER_RUN = "night-2"
OTHER_KEY = "sk-of-another-project-0123456789"


@contextmanager
def another_run(night: BatchNight, run_id: str = OTHER_RUN, **changes: Any) -> Iterator[BatchNight]:
    """A run over the same rows, in an engine of its own."""
    night.house.begin(run_id)
    with night.continued(**changes) as other:
        assert isinstance(other, BatchNight)
        yield replace(other, run_id=run_id)


def do_once(job: Callable[[], object], at: str) -> Callable[[str], None]:
    """For `reach`: the job is done, in a thread of its own, when the point is reached for the first time."""
    done: list[str] = []

    def reach(name: str) -> None:
        if name == at and not done:
            done.append(name)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(job).result()

    return reach


def refuse_once(row_id: str) -> Callable[[FakeItem], Scripted | None]:
    """The first answer of the row is no JSON."""
    asked: list[str] = []

    def decide(item: FakeItem) -> Scripted | None:
        if find_row(item.body) != row_id or asked:
            return None
        asked.append(row_id)
        return Scripted(text="no JSON")

    return decide


def check_all_paid_once(fake: FakeProvider, n_rows: int = N_ROWS) -> None:
    assert (len(fake.billed), set(fake.billed.values())) == (n_rows, {1})


# Other runs, and others that follow.


def test_two_runs_that_wait_for_one_batch_and_are_woken_together_both_end_whole(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.ends_after = None
    one = open_batches()
    assert one.take_turn()[0] is Turn.WAIT
    with another_run(one) as other, ThreadPoolExecutor(2) as pool:
        assert other.take_turn()[0] is Turn.WAIT
        one.end_batches(fake)
        both = threading.Barrier(2, timeout=30.0)
        woken = [pool.submit(night.take_turn, 1, meanwhile=both.wait) for night in (one, other)]
        for night, (turn, ended) in zip((one, other), [run.result() for run in woken], strict=True):
            # What the other was about to judge is recorded by now.
            assert turn is Turn.AGAIN or ended.states == WHOLE
            assert night.work_in_batches(pytest.fail, n_before=2).states == WHOLE
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
    check_books(house, N_ROWS)


@pytest.mark.parametrize("database", DATABASES)
def test_several_runs_and_pollers_over_the_same_rows_all_end_whole_and_pay_once(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    n_rows, n_runs = pick(short=(150, 3), long=(400, 4))
    expired: set[str] = set()

    def decide(item: FakeItem) -> str | None:
        row = find_row(item.body)
        if int(row[1:]) % 7 or row in expired:
            return None
        expired.add(row)
        return "expired"

    fake.batches.decide, fake.batches.ends_after, fake.batches.seed = decide, 2, 5
    one, is_over = open_batches(n_rows, batch_rows=37, batch_grace_s=0.0), threading.Event()

    def poll() -> list[str]:
        faults: list[str] = []
        while not is_over.wait(0.01):
            faults += follow_batches(house.ledger, one.engine.settings).faults
        return faults

    with ExitStack() as stack:
        nights = [one, *(stack.enter_context(another_run(one, f"night-{n}")) for n in range(2, n_runs + 1))]
        pool = stack.enter_context(ThreadPoolExecutor(n_runs + 2))
        stack.callback(is_over.set)
        pollers = [pool.submit(poll) for _ in range(2)]
        runs = [pool.submit(night.work_in_batches, lambda: time.sleep(0.02), most_turns=200) for night in nights]
        assert [run.result().states for run in runs] == [(n_rows, 0, 0)] * n_runs
        is_over.set()
        assert [poller.result() for poller in pollers] == [[], []]
    check_all_paid_once(fake, n_rows)
    check_books(house, n_rows)


def test_a_batch_that_ends_after_the_rows_were_looked_up_is_judged_in_another_turn_at_once(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.ends_after = None
    night = open_batches()
    night.take_turn()
    assert night.take_turn(1, meanwhile=lambda: night.end_batches(fake))[0] is Turn.AGAIN
    assert night.work_in_batches(pytest.fail, n_before=2).states == WHOLE
    check_books(house, N_ROWS)


def test_rows_whose_batch_was_released_while_it_was_packed_are_packed_anew(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    night = open_batches()

    def stand_still() -> None:
        lapse_leases(house)
        follow_batches(house.ledger, night.engine.settings)

    assert night.take_turn(meanwhile=stand_still)[0] is Turn.AGAIN
    assert fake.batches.received == []
    assert night.work_in_batches(n_before=1).states == WHOLE
    check_all_paid_once(fake)
    check_books(house, N_ROWS)


def test_rows_go_into_another_batch_where_one_was_released_before_it_was_full(
    open_batches: Open, fake: FakeProvider, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = open_batches()

    def stand_still() -> None:
        lapse_leases(house)
        follow_batches(house.ledger, night.engine.settings)

    monkeypatch.setattr(packing, "reach", do_once(stand_still, "batch-begun"))
    assert night.work_in_batches().states == WHOLE
    assert count_states(house)["unsent"] == 1
    check_all_paid_once(fake)
    check_books(house, N_ROWS)


def test_rows_that_another_run_packs_after_they_were_looked_up_are_waited_for(
    open_batches: Open, fake: FakeProvider, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.batches.ends_after = None
    night = open_batches()
    with another_run(night) as other:
        monkeypatch.setattr(packing, "reach", do_once(other.take_turn, "batch-begun"))
        assert night.take_turn()[0] is Turn.WAIT
        other.end_batches(fake)
        assert [n.work_in_batches(n_before=1).states for n in (night, other)] == [WHOLE, WHOLE]
    check_all_paid_once(fake)
    check_books(house, N_ROWS)


@pytest.mark.parametrize("vendor", MODELS)
def test_a_process_that_stands_still_between_intent_and_send_does_not_send_what_another_has(
    open_batches: Open, fake: FakeProvider, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.batches.ends_after = None
    night = open_batches(batch_grace_s=0.0)
    with another_run(night) as other:

        def go_on_elsewhere() -> None:
            lapse_leases(house)
            follow_batches(house.ledger, night.engine.settings)
            other.take_turn()

        monkeypatch.setattr(sending, "reach", do_once(go_on_elsewhere, "batch-submitting"))
        night.take_turn()
        assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
        fake.batches.end()
        assert [n.work_in_batches(n_before=1).states for n in (night, other)] == [WHOLE, WHOLE]
    assert list_calls(fake) == []
    check_all_paid_once(fake)
    check_books(house, N_ROWS)


# What a provider answers.


@pytest.mark.parametrize("vendor", MODELS)
@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("results", status=200, body="<html>Sign in</html>\n"),
        Trouble("results", status=200, body="{}"),
        Trouble("results", is_done=True, n_lines=N_ROWS // 2),
    ],
    ids=["page-of-a-proxy", "no-result", "half-of-the-lines"],
)
def test_results_that_are_not_all_there_are_read_again_and_nothing_is_sent_again(
    open_batches: Open, fake: FakeProvider, house: House, trouble: Trouble
) -> None:
    fake.batches.troubles.append(replace(trouble))
    night, seen = open_batches(), []
    ended = night.work_in_batches(lambda: seen.append(count_states(house)))
    assert ended.states == WHOLE
    assert seen[-1] == {"submitted": 1}
    assert count_items(house) == {"answered": N_ROWS}
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
    check_books(house, N_ROWS)


def test_a_batch_that_is_refused_for_now_as_a_whole_costs_its_rows_no_attempt(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    n_refused = MAX_ATTEMPTS + 1
    fake.batches.fails = [("token_limit_exceeded", "Enqueued token limit reached")] * n_refused
    assert open_batches().work_in_batches().states == WHOLE
    assert len(fake.batches.received) == n_refused + 1
    assert count_outcomes(house) == {"accepted": N_ROWS, "unsent": n_refused * N_ROWS}
    check_books(house, N_ROWS)


def test_a_repair_that_meets_a_429_stays_online(open_batches: Open, fake: FakeProvider, house: House) -> None:
    answer = fake.answer
    refused: list[Any] = []

    def refuse_first(body: Any) -> Any:
        # Items of a batch are answered here too: the repair is told by the conversation that it goes on with.
        if "no JSON" in str(body["messages"]) and not refused:
            refused.append(body)
            return Scripted(status=429)
        return answer(body)

    fake.batches.decide, fake.answer = refuse_once("r3"), refuse_first
    assert open_batches().work_in_batches().states == WHOLE
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
    assert [find_row(body) for body in list_calls(fake)] == ["r3", "r3"]


# Money.


@contextmanager
def capped_run(night: BatchNight) -> Iterator[BatchNight]:
    """A run over other rows, under a cap that half of them fit under at their worst price."""
    night.work_in_batches()
    [(worst_usd,)] = night.house.fetch("SELECT max(reserved_usd) FROM attempts")
    more = cut_source(night.house.home, ["other words"] * N_ROWS, "more")
    with another_run(night, budget_usd=worst_usd * N_ROWS / 2) as capped:
        yield replace(capped, batches=more)


def test_rows_that_wait_for_money_go_on_when_the_batch_that_holds_it_has_just_ended(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    with capped_run(open_batches()) as night:
        fake.batches.ends_after = None
        night.take_turn()
        turn, _ = night.take_turn(1, meanwhile=lambda: night.end_batches(fake))
        assert (turn, night.engine.context(OTHER_RUN).halted) == (Turn.AGAIN, None)
        fake.batches.ends_after = 0
        ended = night.work_in_batches(n_before=2)
    assert (ended.states, ended.why) == (WHOLE, "")
    check_books(house, 2 * N_ROWS)


def test_repairs_online_wait_for_money_that_a_batch_holds(open_batches: Open, fake: FakeProvider, house: House) -> None:
    repaired = {f"r{n}" for n in range(1, 11)}
    with capped_run(open_batches()) as night:
        # Each is set aside for as two of a batch are, while the rows that are left are packed.
        fake.batches.decide = lambda item: Scripted(text="no JSON") if find_row(item.body) in repaired else None
        ended = night.work_in_batches()
    assert (ended.states, ended.why) == (WHOLE, "")
    assert {find_row(body) for body in list_calls(fake)} == repaired
    check_books(house, 2 * N_ROWS)


# Other keys.


def test_a_key_that_sees_nothing_ends_no_batch_of_another_key(
    open_batches: Open, fake: FakeProvider, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.batches.ends_after = None
    night = open_batches()
    night.take_turn()
    fake.batches.end()
    # Longer than a provider works on it: one that its own key did not show would be over.
    house.tamper("UPDATE provider_batches SET submitted_at = :at", at=time.time() - 27 * 3600)
    with monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", OTHER_KEY)
        assert len(follow_batches(house.ledger, night.engine.settings).faults) == 1
    assert (count_states(house), count_items(house)) == ({"submitted": 1}, {None: N_ROWS})
    assert night.work_in_batches(n_before=1).states == WHOLE
    check_all_paid_once(fake)


#: Since a submit was begun, in seconds, and what is made then of a key that does not show it.
AGES_S = {"submitting": 60.0, "in_doubt": 27 * 3600.0}


@pytest.mark.parametrize("state", AGES_S)
def test_a_lost_submit_that_another_key_does_not_show_is_found_by_its_own_key(
    open_batches: Open, fake: FakeProvider, house: House, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    fake.batches.ends_after = None
    fake.batches.troubles.append(Trouble("create", is_done=True))
    night = open_batches(batch_grace_s=0.0)
    night.take_turn()
    house.tamper("UPDATE provider_batches SET submitting_at = :at", at=time.time() - AGES_S[state])
    with monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", OTHER_KEY)
        for _ in range(2):
            follow_batches(house.ledger, night.engine.settings)
        assert count_states(house) == {state: 1}
    fake.batches.end()
    assert night.work_in_batches(n_before=1).states == WHOLE
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
    check_books(house, N_ROWS)


# Clocks and delays.


def test_grace_runs_from_the_first_look_that_shows_nothing(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    """The file took longer to send than the grace; then the answer is lost, and the list is behind."""
    fake.batches.ends_after = None
    fake.batches.troubles += [
        Trouble("create", is_done=True),
        Trouble("list", status=200, body='{"data": [], "has_more": false}'),
    ]
    night = open_batches(batch_grace_s=600.0)
    night.take_turn()
    house.tamper("UPDATE provider_batches SET submitting_at = :at", at=time.time() - 601)
    night.take_turn(1)
    assert count_states(house) == {"submitting": 1}
    fake.batches.end()
    assert night.work_in_batches(n_before=2).states == WHOLE
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]


@pytest.mark.parametrize("vendor", ["anthropic"])
def test_a_clock_that_is_ahead_by_more_than_an_hour_hides_no_batch(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.ends_after, fake.batches.clock = None, lambda: time.time() - 3_700
    fake.batches.troubles.append(Trouble("create", is_done=True))
    night = open_batches(batch_grace_s=0.0)
    for n in range(3):
        night.take_turn(n)
    assert count_states(house) == {"submitting": 1}
    fake.batches.end()
    assert night.work_in_batches(n_before=3).states == WHOLE
    assert [len(batch.items) for batch in fake.batches.received] == [N_ROWS]
    check_books(house, N_ROWS)


def test_a_run_that_is_continued_the_next_day_is_not_halted_by_refusals_of_the_day_before(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.troubles.append(Trouble("create", status=429, n=2 * MAX_ATTEMPTS))
    night = open_batches(outage_s=3600.0)
    assert night.take_turn()[0] is Turn.WAIT
    assert count_states(house) == {"unsent": 1}
    house.tamper("UPDATE provider_batches SET submitting_at = :at", at=time.time() - 24 * 3600)
    assert night.take_turn()[0] is Turn.WAIT
    assert fake.batches.troubles == []
    assert night.work_in_batches(n_before=1).states == WHOLE


# Deadlines, and other steps.


def test_a_run_has_nothing_to_do_while_a_provider_takes_long_to_stop(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.ends_after, fake.batches.cancel_looks = None, 10_000
    night = open_batches()
    night.take_turn()
    house.tamper("UPDATE runs SET by_at = :at", at=time.time() - 1)
    assert is_due(RUN, house.ledger, night.engine.settings)
    night.take_turn(1)
    house.tamper("UPDATE provider_batches SET canceled_at = :at", at=time.time() - 1000)
    assert not is_due(RUN, house.ledger, night.engine.settings)
    assert night.take_turn(2)[0] is Turn.WAIT
    night.end_batches(fake)
    assert is_due(RUN, house.ledger, night.engine.settings)
    assert night.work_in_batches(n_before=3).states == WHOLE


def test_a_run_at_its_deadline_does_not_wait_for_another_runs_batch(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.ends_after = None
    night = open_batches()
    night.take_turn()
    with another_run(night) as late:
        house.tamper("UPDATE runs SET by_at = :at WHERE run_id = :run", at=time.time() - 1, run=OTHER_RUN)
        assert late.work_in_batches(pytest.fail).states == (0, 0, N_ROWS)
        assert is_due(OTHER_RUN, house.ledger, late.engine.settings)
    # It was not for that run to stop it.
    night.end_batches(fake)
    assert night.work_in_batches(n_before=1).states == WHOLE
    check_all_paid_once(fake)


def test_rows_of_a_step_before_that_are_in_doubt_take_no_passes_from_this_one(
    open_batches: Open, fake: FakeProvider, house: House
) -> None:
    fake.batches.troubles += [Trouble("create", is_done=True), Trouble("list", status=403, n=1000)]
    night = open_batches(batch_grace_s=0.0)
    # More batches than the next step has.
    second = [replace(batch, n=2) for batch in cut_source(house.home, ["some text"] * N_ROWS, "second")]
    night = replace(night, batches=[*night.batches, *second])
    ended = night.work_in_batches()
    assert (ended.states, count_states(house)) == ((0, 0, 2 * N_ROWS), {"in_doubt": 1})
    # Late, so that it is asked online; more often than one pass asks.
    house.tamper("UPDATE runs SET by_at = :at", at=time.time() - 1)
    answer = fake.answer
    asked: list[Any] = []

    def refuse_first(body: Any) -> Any:
        asked.append(body)
        return Scripted(status=429) if len(asked) <= MAX_ATTEMPTS + 1 else answer(body)

    fake.answer = refuse_first
    step = replace(night, batches=cut_source(house.home, ["other words"], "more"))
    assert step.work_in_batches(n_before=ended.n_passes).states == (1, 0, 0)
