from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from overnight.complete.forecast import Ground
from overnight.complete.misses import Reason
from overnight.complete.plan import StepPlan, plan_step
from overnight.complete.resolve import resolve_prompt
from overnight.keys import request_key
from overnight.ledger.attempts import Opening, record_prompt
from overnight.ledger.bodies import make_body
from overnight.ledger.columns import metadata
from overnight.ledger.history import find_request
from overnight.ledger.manifests import record_batches
from overnight.ledger.provider_batch_packing import begin_batch, pack
from overnight.ledger.provider_batches import release_batch
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.parts import read_part
from overnight.prompts import parse_prompt
from overnight.records import Batch, BatchState, Mode, ModelTerms, Prompt
from tests.conftest import RUN
from tests.fakes.provider import Scripted
from tests.fakes.with_provider import record_batch
from tests.unit.complete.conftest import Desk

NO_BLUE = {"rule": "forbidden", "field": "quote", "phrases": ["blue"]}
BUSY = Scripted(status=429, headers={"retry-after": "3600"})
#: US dollars for a token, so that a cost can be read off.
TERMS = ModelTerms("openai:gpt-fake", input_usd_per_million=1e6, output_usd_per_million=1e6)


def _plan(desk: Desk, *batches: Batch, prompt: Prompt | None = None, terms: tuple[ModelTerms, ...] = ()) -> StepPlan:
    """The plan, made in a folder of its own; it calls nothing, writes nothing and loses no row."""
    home = desk.house.home.parent / "plan"
    shutil.copytree(desk.house.home / "parts", home / "parts", dirs_exist_ok=True)
    prompt = prompt or desk.make_prompt()
    before = _look(desk)
    with desk.house.ledger.reading() as connection:
        step, completed = plan_step(
            batches,
            prompt,
            n_unknown=0,
            connection=connection,
            settings=replace(desk.house.settings, terms=terms),
            place=home,
        )
    assert _look(desk) == before
    assert step.n_rows == step.n_quarantined_at_intake + step.n_hits + step.n_quarantined_before + step.n_misses
    assert step.n_rows == sum(b.n_accepted + b.n_quarantined + b.n_pending for b in completed)
    return step


def _look(desk: Desk) -> tuple[object, ...]:
    with desk.house.ledger.reading() as connection:
        counts = [
            connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in metadata.tables.values()
        ]
    files = sorted(p for p in desk.house.home.rglob("*") if p.is_file())
    return len(desk.fake.calls), counts, files


def _record(desk: Desk, batch: Batch, prompt: Prompt, run_id: str = RUN) -> None:
    """As a run that read this batch for the prompt leaves it."""
    desk.house.begin(run_id)
    desk.house.ledger.write(lambda c: pin_prompt(c, run_id, prompt))
    desk.house.ledger.write(lambda c: pin_model(c, run_id, prompt))
    desk.house.ledger.write(lambda c: record_batches(c, run_id, [batch]))


def _reasons(step: StepPlan) -> dict[str, int]:
    return {str(reason): n for reason, n in step.misses.items() if n}


def test_without_a_record_every_readable_row_is_new_and_the_figures_are_guessed_from_sizes(desk: Desk) -> None:
    step = _plan(desk, desk.house.read_batch(["a" * 30, "", "b" * 30]))
    assert (step.n_rows, step.n_quarantined_at_intake, step.n_hits) == (3, 1, 0)
    assert dict(step.misses) == {reason: 2 if reason is Reason.NEW_ROW else 0 for reason in Reason}
    needs, n_characters = step.forecast.needs, 2 * (len(step.prompt.template) + len('{"body":""}') + 30)
    assert step.forecast.ground is Ground.SIZES
    assert (needs.calls.low, needs.calls.high) == (2, 2)
    assert needs.input_tokens.low == n_characters / 6
    assert needs.input_tokens.high == (n_characters + 2 * len(step.prompt.schema)) / 3
    assert (needs.output_tokens.low, needs.output_tokens.high) == (2, 2 * 50)
    assert needs.cost_usd is None


def test_a_guess_has_a_price_where_the_project_declares_one(desk: Desk) -> None:
    needs = _plan(desk, desk.house.read_batch(["a", "b"]), terms=(TERMS,)).forecast.needs
    assert needs.cost_usd is not None
    assert needs.cost_usd.high == pytest.approx(needs.input_tokens.high + needs.output_tokens.high, abs=2)


def test_what_is_answered_is_a_hit_and_takes_nothing(desk: Desk) -> None:
    batch = desk.house.read_batch(["a", "b"])
    desk.complete(batch)
    step = _plan(desk, batch)
    assert (step.n_hits, step.n_misses, step.forecast.ground) == (2, 0, Ground.RECORDED)
    assert (step.forecast.needs.calls.high, step.forecast.needs.input_tokens.high) == (0, 0)


def test_the_rest_takes_what_such_rows_have_taken(desk: Desk) -> None:
    desk.fake.answer = lambda _: Scripted(usage={"prompt_tokens": 40, "completion_tokens": 10})
    desk.ask(["a", "b"])
    step = _plan(desk, desk.house.read_batch(["a", "c", "d", "e"], n=2), terms=(TERMS,))
    needs = step.forecast.needs
    assert (step.n_hits, step.n_misses, step.forecast.ground) == (1, 3, Ground.RECORDED)
    assert (needs.calls.low, needs.input_tokens.low, needs.output_tokens.high) == (3, 120, 30)
    # Nobody knew a price then; there is one now.
    assert needs.cost_usd is not None
    assert needs.cost_usd.low == pytest.approx(150)


def test_the_answers_that_are_there_are_in_the_completed_part_and_the_others_are_pending(desk: Desk) -> None:
    desk.ask(["a"])
    batch, home = desk.house.read_batch(["a", "b", ""], n=2), desk.house.home
    with desk.house.ledger.reading() as connection:
        _, [completed] = plan_step(
            [batch], desk.make_prompt(), n_unknown=0, connection=connection, settings=desk.house.settings, place=home
        )
    rows: list[dict[str, Any]] = read_part(completed.part, home).to_pylist()
    assert [row["state"] for row in rows] == ["accepted", "pending", "quarantined"]
    assert '"quote"' in rows[0]["output"]
    assert (completed.n_accepted, completed.n_pending, completed.n_quarantined) == (1, 1, 1)
    # It is what a run makes of the same rows: its checks are found by it.
    assert desk.complete(batch).n_accepted == 2
    with desk.house.ledger.reading() as connection:
        _, [again] = plan_step(
            [batch], desk.make_prompt(), n_unknown=0, connection=connection, settings=desk.house.settings, place=home
        )
    assert again == desk.complete(batch)


def test_rows_that_ask_the_same_are_one_call_in_whichever_batch_they_stand(desk: Desk) -> None:
    step = _plan(desk, desk.house.read_batch(["a", "a", "b"]), desk.house.read_batch(["b", "c"], n=2))
    assert (step.n_hits, _reasons(step)) == (2, {"new_row": 3})


def test_what_was_refused_for_good_is_not_asked_again(desk: Desk) -> None:
    desk.fake.answer = lambda _: Scripted(refusal="no")
    batch = desk.house.read_batch(["a"])
    desk.complete(batch)
    step = _plan(desk, batch)
    assert (step.n_hits, step.n_quarantined_before, step.n_misses) == (0, 1, 0)


def test_recorded_answers_are_judged_by_today_s_row_checks_and_nothing_is_recorded_of_it(desk: Desk) -> None:
    batch = desk.house.read_batch(["red one", "blue one"])
    desk.complete(batch)
    strict = _plan(desk, batch, prompt=desk.make_prompt(NO_BLUE))
    assert (strict.n_hits, strict.n_quarantined_before, strict.n_misses) == (1, 1, 0)


def test_an_answer_that_a_rule_refused_is_a_hit_when_the_rule_is_gone(desk: Desk) -> None:
    batch = desk.house.read_batch(["red one", "blue one"])
    assert desk.complete(batch, desk.make_prompt(NO_BLUE)).n_quarantined == 1
    assert _plan(desk, batch, prompt=desk.make_prompt(NO_BLUE)).n_quarantined_before == 1
    free = _plan(desk, batch)
    assert (free.n_hits, free.n_quarantined_before, free.n_misses) == (2, 0, 0)


def test_a_row_that_was_asked_in_vain_was_never_answered_though_its_prompt_has_changed_too(desk: Desk) -> None:
    batch = desk.house.read_batch(["a"])
    desk.complete(batch, desk.make_prompt(model="openai:gpt-other"))
    desk.fake.answer = lambda _: BUSY
    assert desk.complete(batch).n_pending == 1
    assert _reasons(_plan(desk, batch)) == {"never_answered": 1}


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ({"model": "openai:gpt-other"}, "changed_model"),
        ({"endpoint": "http://127.0.0.1:9/elsewhere"}, "changed_model"),
        ({"text": "Sort that: {{ body }}"}, "changed_prompt"),
        ({"text": "Sort that: {{ body }}", "model": "openai:gpt-other"}, "changed_prompt"),
    ],
    ids=str,
)
def test_the_same_input_asked_otherwise_says_what_has_changed(desk: Desk, before: Any, reason: str) -> None:
    endpoint = desk.fake.openai_base_url
    batch = desk.house.read_batch(["a", "b"])
    desk.complete(desk.house.read_batch(["a"], n=2), desk.make_prompt())
    now = desk.house.make_prompt(**{"endpoint": endpoint} | before)
    assert _reasons(_plan(desk, batch, prompt=now)) == {reason: 1, "new_row": 1}


def test_another_model_is_told_before_another_text(desk: Desk) -> None:
    endpoint, batch = desk.fake.openai_base_url, desk.house.read_batch(["a"])
    desk.complete(batch, desk.make_prompt(model="openai:gpt-other"))
    desk.complete(batch, desk.house.make_prompt(text="Sort that: {{ body }}", endpoint=endpoint))
    assert _reasons(_plan(desk, batch)) == {"changed_model": 1}


def test_a_model_that_is_named_in_the_prompt_s_own_front_matter_is_a_changed_model(desk: Desk) -> None:
    batch, now = desk.house.read_batch(["a"]), desk.make_prompt()
    desk.complete(batch)
    # The text is another for it: only what stands below the front matter is what is asked.
    text = now.text.replace("openai:gpt-fake", "openai:gpt-other")
    moved = replace(now, text=text, model="openai:gpt-other", prompt_hash="ab" * 32)
    assert _reasons(_plan(desk, batch, prompt=moved)) == {"changed_model": 1}


def test_the_usage_of_another_version_for_the_same_model_is_the_next_best(desk: Desk) -> None:
    endpoint, batch = desk.fake.openai_base_url, desk.house.read_batch(["a"])
    desk.complete(batch)
    changed = desk.house.make_prompt(text="Sort that: {{ body }}", endpoint=endpoint)
    assert _plan(desk, batch, prompt=changed).forecast.ground is Ground.OTHER_VERSION
    moved = desk.make_prompt(model="openai:gpt-other")
    assert _plan(desk, batch, prompt=moved).forecast.ground is Ground.SIZES


def test_a_row_with_another_input_than_in_the_newest_run_has_changed(desk: Desk) -> None:
    _record(desk, desk.house.read_batch(["a", "b", ""], n=1), desk.make_prompt())
    # r1 was never asked, and is as it was; r2 and r3, which was empty, are edited; r4 is new.
    step = _plan(desk, desk.house.read_batch(["a", "B", "c", "d"], n=2))
    assert _reasons(step) == {"changed_row": 2, "new_row": 2}


def test_a_part_of_an_earlier_run_that_is_altered_tells_nothing(desk: Desk) -> None:
    earlier = desk.house.read_batch(["a"])
    _record(desk, earlier, desk.make_prompt())
    (desk.house.home / earlier.part.path).write_bytes(b"altered")
    assert _reasons(_plan(desk, desk.house.read_batch(["A"], n=2))) == {"new_row": 1}


def test_a_run_that_pinned_the_prompt_and_did_not_ask_it_tells_nothing(desk: Desk) -> None:
    prompt = desk.make_prompt()
    desk.house.ledger.write(lambda c: pin_prompt(c, RUN, prompt))
    desk.house.ledger.write(lambda c: record_batches(c, RUN, [desk.house.read_batch(["a"])]))
    assert _reasons(_plan(desk, desk.house.read_batch(["A"], n=2))) == {"new_row": 1}


def test_what_a_prompt_had_answered_is_a_hit_when_it_is_switched_to_batches_and_back(desk: Desk) -> None:
    online, batch = desk.make_prompt(), desk.house.read_batch(["a red car", "a blue one"])
    _record(desk, batch, online)
    desk.complete(batch, online)
    text = online.text.replace("model: ", 'mode: batch\nby: "06:00"\nmodel: ', 1)
    parsed = parse_prompt(online.name, text=text, schema=online.schema, checks=online.checks)
    switched = resolve_prompt(parsed, online.model, endpoint=online.endpoint)
    assert (switched.mode, switched.by, switched.prompt_hash) == ("batch", "06:00", online.prompt_hash)
    step = _plan(desk, batch, prompt=switched)
    assert (step.n_hits, step.n_misses, step.mode, step.by) == (2, 0, Mode.BATCH, "06:00")
    assert {row["request_key"] for row in desk.read(desk.complete(batch, switched))} == _keys(desk)
    # The ledger keeps the text that was asked first, and both are under its hash.
    desk.house.ledger.write(lambda c: record_prompt(c, switched, 2.0))
    with desk.house.ledger.reading() as connection:
        assert all(find_request(connection, key) for key in _keys(desk))
    # Sent elsewhere, it is the model that has changed, and no word of the prompt.
    moved = resolve_prompt(parsed, "openai:gpt-other", endpoint=online.endpoint)
    assert _reasons(_plan(desk, batch, prompt=moved)) == {"changed_model": 2}


def _keys(desk: Desk) -> set[str]:
    return {
        key.hex() if isinstance(key, bytes) else key
        for (key,) in desk.house.fetch("SELECT request_key FROM completions")
    }


BOTH = replace(TERMS, batch_input_usd_per_million=5e5, batch_output_usd_per_million=5e5)


def test_a_plan_has_both_prices(desk: Desk) -> None:
    batch = desk.house.read_batch(["a", "b"])
    step = _plan(desk, batch, terms=(BOTH,))
    online, in_batches = step.forecast.needs.cost_usd, step.forecast.needs.batch_cost_usd
    assert online is not None
    assert in_batches is not None
    assert (in_batches.low, in_batches.high) == (online.low / 2, online.high / 2)
    assert (step.has_batch_price, step.mode, step.cost_usd) == (True, Mode.ONLINE, online)
    asked = replace(desk.make_prompt(), mode="batch")
    assert _plan(desk, batch, prompt=asked, terms=(BOTH,)).cost_usd == in_batches


def test_without_a_price_of_batches_they_count_as_calls_one_by_one(desk: Desk) -> None:
    step = _plan(desk, desk.house.read_batch(["a", "b"]), terms=(TERMS,))
    assert step.forecast.needs.batch_cost_usd == step.forecast.needs.cost_usd is not None
    assert not step.has_batch_price


@pytest.mark.parametrize("n_batched", [0, 1, 2])
def test_what_was_paid_in_batches_makes_no_forecast_of_calls_too_low(desk: Desk, n_batched: int) -> None:
    prompt, asked = desk.make_prompt(), desk.house.read_batch(["a", "b"])
    _record(desk, asked, prompt)
    desk.complete(asked, prompt)
    _pay(desk, n_batched)
    needs = _plan(desk, desk.house.read_batch(["c", "d"], n=2), terms=(BOTH,)).forecast.needs
    assert needs.cost_usd is not None
    assert needs.batch_cost_usd is not None
    tokens = (needs.input_tokens.high + needs.output_tokens.high, needs.input_tokens.low + needs.output_tokens.low)
    assert (needs.cost_usd.high, needs.cost_usd.low) == pytest.approx(tokens, rel=0.01)
    assert needs.batch_cost_usd.high == pytest.approx(needs.cost_usd.high / 2, rel=0.01)


def _pay(desk: Desk, n_batched: int) -> None:
    """As if the calls had been paid at a dollar a token, and some of them in a batch at half of it."""
    desk.house.tamper("UPDATE attempts SET cost_usd = input_tokens + output_tokens")
    batch_id = record_batch(desk.house.ledger, RUN, BatchState.ENDED)
    keys = desk.house.fetch("SELECT attempt_id, request_key FROM attempts ORDER BY attempt_id")
    for attempt_id, key in keys[:n_batched]:
        desk.house.tamper(f"UPDATE attempts SET cost_usd = cost_usd / 2 WHERE attempt_id = {attempt_id:d}")  # noqa: S608 - a number
        item = {"attempt_id": attempt_id, "batch_id": batch_id, "request_key": key}
        desk.house.tamper(
            "INSERT INTO provider_batch_items (attempt_id, batch_id, request_key)"
            " VALUES (:attempt_id, :batch_id, :request_key)",
            **item,
        )


def _send_with_a_batch(desk: Desk, key: str, prompt: Prompt) -> None:
    """As a run in batch mode leaves a row that it has handed over."""
    whose = {"run_id": RUN, "model": prompt.model, "endpoint": prompt.endpoint}
    worker, opening = desk.house.worker, Opening(key, prompt.prompt_hash, "{}", make_body(b"{}"), RUN, 1.0, 0.25)

    def fill(connection: sa.Connection) -> None:
        assert pack(
            begin_batch(connection, batch_id="00000000000000aa", packed_by=worker, now=1.0, **whose),
            connection,
            [opening],
        )

    desk.house.ledger.write(fill)


def test_rows_that_are_with_a_provider_are_neither_asked_in_vain_nor_priced(desk: Desk) -> None:
    prompt, batch = desk.make_prompt(), desk.house.read_batch(["a", "b", "b"])
    _record(desk, desk.house.read_batch(["a"]), prompt)
    desk.house.ledger.write(lambda c: record_prompt(c, prompt, 1.0))
    alone = _plan(desk, desk.house.read_batch(["b"], n=2), terms=(TERMS,))
    _send_with_a_batch(desk, request_key('{"body":"a"}', prompt.prompt_hash), prompt)
    step = _plan(desk, batch, terms=(TERMS,))
    assert _reasons(step) == {"with_provider": 1, "new_row": 1}
    assert (step.n_hits, step.n_misses, step.n_with_provider, step.n_to_ask) == (1, 2, 1, 1)
    assert step.forecast == alone.forecast
    # One that was given up is asked again.
    desk.house.ledger.write(lambda c: release_batch(c, "00000000000000aa", reason="No key.", now=2.0))
    assert _plan(desk, batch).n_to_ask == 2
