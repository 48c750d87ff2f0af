from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.failures import OvernightError
from overnight.keys import digest_bytes
from overnight.ledger.attempts import Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.completions import Completion, Refusal, accept
from overnight.ledger.manifests import record_batches
from overnight.ledger.queries import find_run, get_run, list_runs, summarize
from overnight.ledger.runs import end_pass, set_state
from overnight.records import Batch, CheckedBatch, CompletedBatch, Part, Prompt, Reply, RunState, Summary, Usage
from tests.conftest import RUN, House

PART = Part("parts/x.parquet", digest_bytes(b"part"), 10)
BATCH = Batch(n=1, part=PART, digest=digest_bytes(b"rows"), n_rows=10, n_quarantined=2)
COMPLETED = CompletedBatch(1, PART, digest_bytes(b"prompt"), n_accepted=5, n_quarantined=3, n_pending=2)
CHECKED = CheckedBatch(1, PART, digest_bytes(b"prompt"), digest_bytes(b"checks"), 4, 4, 2)


@pytest.fixture
def prompt(house: House) -> Prompt:
    house.begin()
    return house.make_prompt()


def _record(house: House, *manifests: Batch | CompletedBatch | CheckedBatch) -> None:
    for manifest in manifests:
        house.ledger.write(lambda c, m=manifest: record_batches(c, RUN, [m]))  # type: ignore[misc]


def _summarize(house: House, now: float = 5.0) -> Summary:
    with house.ledger.reading() as connection:
        return summarize(connection, RUN, now)


def _attempt(
    house: House,
    prompt: Prompt,
    outcome: str = "accepted",
    cost_usd: float | None = 0.5,
    key: str = BATCH.digest,
) -> int:
    opening = Opening(key, prompt.prompt_hash, "{}", make_body(b"sent"), RUN, 1.0)
    worker = house.worker
    [attempt_id] = house.ledger.write(lambda c: open_attempts(c, worker, [opening]))
    assert isinstance(attempt_id, int)
    if outcome != "open":
        reply = Reply(200, b"{}", usage=Usage(10, 5))
        closing = Closing(attempt_id, key, 2.0, outcome, reply=reply, body=make_body(b"{}"), cost_usd=cost_usd)
        house.ledger.write(lambda c: close_attempts(c, [closing]))
    return attempt_id


def _counts(summary: Summary) -> tuple[int, ...]:
    return (summary.rows, summary.accepted, summary.quarantined, summary.pending)


def test_rows_balance_at_every_stage(house: House, prompt: Prompt) -> None:
    other = replace(BATCH, n=2, n_quarantined=0)
    _record(house, BATCH, other)
    assert _counts(_summarize(house)) == (20, 0, 2, 18)
    _record(house, COMPLETED)
    assert _counts(_summarize(house)) == (20, 5, 3, 12)
    _record(house, CHECKED)
    assert _counts(_summarize(house)) == (20, 4, 4, 12)


def test_rows_that_a_second_step_takes_count_there_and_the_others_where_they_are(house: House, prompt: Prompt) -> None:
    _record(house, BATCH, COMPLETED, CHECKED)
    second = replace(BATCH, step=2, n_rows=3, n_quarantined=0)
    _record(house, second)
    # Of four accepted rows three go on: one is skipped, and the three are pending.
    assert (_counts(_summarize(house)), _summarize(house).skipped) == ((10, 1, 4, 5), 1)
    _record(house, replace(COMPLETED, step=2, n_accepted=2, n_quarantined=1, n_pending=0))
    assert (_counts(_summarize(house)), _summarize(house).skipped) == ((10, 3, 5, 2), 1)
    house.ledger.write(lambda c: set_state(c, RUN, RunState.HELD))
    assert _summarize(house).held == 2


def test_a_later_pass_replaces_the_manifests_of_an_earlier_one(house: House, prompt: Prompt) -> None:
    _record(house, BATCH, COMPLETED, replace(COMPLETED, n_accepted=7, n_pending=0))
    assert _counts(_summarize(house)) == (10, 7, 3, 0)


def test_answers_that_the_run_did_not_pay_for_are_hits(house: House, prompt: Prompt) -> None:
    _record(house, BATCH, COMPLETED)
    assert _summarize(house).hits == 6
    attempt_id = _attempt(house, prompt)
    house.ledger.write(lambda c: accept(c, [(BATCH.digest, Completion(attempt_id, "{}"))], 2.0))
    assert _summarize(house).hits == 5


def test_an_answer_that_was_refused_and_later_accepted_was_paid_for_once(house: House, prompt: Prompt) -> None:
    _record(house, BATCH, COMPLETED)
    attempt_id = _attempt(house, prompt, "failed")
    refusal = Refusal(attempt_id, "check_failed", "max_chars(quote)", "too long", "{}")
    closing = Closing(attempt_id, BATCH.digest, 2.0, "failed", refusal=refusal)
    house.ledger.write(lambda c: close_attempts(c, [closing]))
    house.ledger.write(lambda c: accept(c, [(BATCH.digest, Completion(attempt_id, "{}"))], 3.0))
    assert _summarize(house).hits == 5


def test_calls_tokens_and_money_are_those_of_calls_that_were_made(house: House, prompt: Prompt) -> None:
    _record(house, BATCH)
    for outcome in ("accepted", "failed", "unsent"):
        _attempt(house, prompt, outcome, 0.5 if outcome != "unsent" else None, digest_bytes(outcome.encode()))
    _attempt(house, prompt, "open")
    summary = _summarize(house)
    # One that was opened and never closed is an attempt, possibly billed.
    assert (summary.calls, summary.attempts, summary.cost_usd) == (2, 3, 1.0)
    assert (summary.input_tokens, summary.output_tokens) == (20, 10)


def test_a_call_without_a_price_makes_the_cost_unknown(house: House, prompt: Prompt) -> None:
    _record(house, BATCH)
    _attempt(house, prompt, cost_usd=0.5)
    _attempt(house, prompt, cost_usd=None, key=digest_bytes(b"another"))
    assert _summarize(house).cost_usd is None


def test_a_summary_names_the_newest_release(house: House) -> None:
    house.offer(1, now=1.0)
    newest = house.offer(2, now=2.0)
    _record(house, BATCH, CHECKED)
    assert _summarize(house).release == newest.release_id


@pytest.mark.parametrize("state", [RunState.HELD, RunState.REJECTED])
def test_what_a_run_holds_is_counted_as_held(house: House, prompt: Prompt, state: RunState) -> None:
    _record(house, BATCH, CHECKED)
    assert _summarize(house).held == 0
    house.ledger.write(lambda c: set_state(c, RUN, state))
    assert _summarize(house).held == 4


def test_a_run_lasted_as_long_as_its_passes(house: House) -> None:
    house.begin()
    house.ledger.write(lambda c: end_pass(c, 1, 4.0))
    assert _summarize(house).seconds == 3.0
    house.begin()
    assert _summarize(house, now=11.0).seconds == 13.0


def test_runs_are_listed_by_state(house: House) -> None:
    for n, state in enumerate(RunState):
        house.begin(f"night-{n}")
        house.ledger.write(lambda c, n=n, s=state: set_state(c, f"night-{n}", s))  # type: ignore[misc]
    with house.ledger.reading() as connection:
        assert len(list_runs(connection, 3)) == 3
        [waiting] = list_runs(connection, 10, states=["waiting"])
        assert waiting["state"] == "waiting"


def test_a_run_that_is_not_there_is_refused_by_name(house: House) -> None:
    with house.ledger.reading() as connection:
        assert find_run(connection, "night-9") is None
        with pytest.raises(OvernightError, match="There is no run night-9"):
            get_run(connection, "night-9")
