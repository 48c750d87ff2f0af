"""A recorded request sent again: the same bytes, judged as then, recorded apart, and seen by nobody who publishes."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace as change
from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight.approve import find_standing
from overnight.complete.recorded import Recorded, get_recorded
from overnight.complete.replay import Replay, replay
from overnight.failures import CallFailed, ModelRefused, OvernightError, PromptRefused
from overnight.ledger.replays import find_keys, list_replays
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.ledger.spend import night_scope
from overnight.masking import MASK
from overnight.records import ModelTerms, Prompt
from overnight.report.replay import as_object, count_agreed, describe
from tests.conftest import DATABASES, RUN
from tests.fakes.provider import Scripted
from tests.unit.complete.conftest import Desk

_TERMS = (ModelTerms("openai:gpt-fake", 1.0, 2.0), ModelTerms("openai:gpt-other", 1.0, 2.0))


def _say(label: str, quote: str = "a car") -> Any:
    return lambda _body: {"label": label, "quote": quote}


def _ask(desk: Desk, prompt: Prompt | None = None, text: str = "a red car") -> Recorded:
    """One request, answered by the fake; the run has pinned its prompt."""
    prompt = prompt or desk.make_prompt()
    desk.house.ledger.write(lambda c: (pin_prompt(c, RUN, prompt), pin_model(c, RUN, prompt)))
    [row] = desk.ask([text], prompt)
    return _read(desk, row["request_key"])


def _read(desk: Desk, key: str) -> Recorded:
    with desk.house.ledger.reading() as connection:
        return get_recorded(connection, key)


def _replay(
    desk: Desk, recorded: Recorded, *, model: str | None = None, prompt: str | None = None, times: int = 1, **more: Any
) -> Replay:
    settings = change(desk.house.settings, terms=_TERMS, **more)
    return replay(
        recorded, model=model, prompt_name=prompt, times=times, asked_by="Ada", ledger=desk.house.ledger,
        settings=settings,
    )  # fmt: skip


def _list(desk: Desk, recorded: Recorded) -> list[dict[str, Any]]:
    with desk.house.ledger.reading() as connection:
        return list_replays(connection, recorded.key)


def _spend(desk: Desk) -> list[tuple[Any, ...]]:
    scope = night_scope(time.time())
    return desk.house.fetch(f"SELECT spent_usd, reserved_usd FROM spend WHERE scope = '{scope}'")  # noqa: S608 - ours


def test_the_recorded_bytes_are_sent_again_and_what_comes_is_compared_by_field(desk: Desk) -> None:
    desk.fake.answer = _say("red")
    recorded = _ask(desk)
    desk.fake.answer = _say("blue")
    done = _replay(desk, recorded)
    first, second = (call.raw for call in desk.fake.calls)
    assert first == second == recorded.body
    assert count_agreed(done) == {"label": 0, "quote": 1}
    told = describe(done)
    assert "label  different\n    then: red\n    now: blue" in told
    assert "quote  same\n    then, now: a car" in told
    assert max(map(len, told.splitlines())) <= 100


def test_a_replay_is_recorded_with_what_it_took(desk: Desk) -> None:
    recorded = _ask(desk)
    _replay(desk, recorded, nightly_budget_usd=1.0)
    [row] = _list(desk, recorded)
    assert (row["outcome"], row["asked_by"], row["model"], row["status"]) == ("accepted", "Ada", "openai:gpt-fake", 200)
    assert row["sent"] == desk.house.fetch("SELECT lower(hex(body)) FROM requests")[0][0]
    assert (row["prompt_hash"], row["model_served"]) == (recorded.prompt.prompt_hash, "gpt-fake")
    assert row["cost_usd"] == pytest.approx((row["input_tokens"] + 2 * row["output_tokens"]) / 1e6)
    assert _spend(desk) == [(pytest.approx(row["cost_usd"]), 0.0)]


def test_it_is_open_on_record_before_it_is_sent(desk: Desk) -> None:
    recorded = _ask(desk)
    seen: list[Any] = []

    def look(_body: Any) -> dict[str, Any]:
        seen.extend((row["outcome"], row["reserved_usd"] > 0) for row in _list(desk, recorded))
        return {"label": "red", "quote": "x"}

    desk.fake.answer = look
    _replay(desk, recorded)
    assert seen == [("open", True)]


@pytest.mark.parametrize("database", DATABASES)
def test_each_of_several_times_is_counted(desk: Desk) -> None:
    desk.fake.answer = _say("red")
    recorded = _ask(desk)
    labels = iter(["red", "blue", "red"])
    desk.fake.answer = lambda _body: {"label": next(labels), "quote": "a car"}
    done = _replay(desk, recorded, times=3)
    assert as_object(done)["fields"] == {"label": {"same": 2, "of": 3}, "quote": {"same": 3, "of": 3}}
    assert "label  same 2 of 3\n    then, now 1: red\n    now 2: blue\n    now 3: red" in describe(done)


def test_another_model_is_asked_with_a_request_of_its_own(desk: Desk) -> None:
    recorded = _ask(desk)
    done = _replay(desk, recorded, model="openai:gpt-other")
    assert desk.fake.calls[-1].body == desk.fake.calls[0].body | {"model": "gpt-other"}
    assert (done.is_same_request, done.answers[0].model_served) == (False, "gpt-other")
    assert done.prompt.prompt_hash != recorded.prompt.prompt_hash
    assert _list(desk, recorded)[0]["prompt_hash"] == done.prompt.prompt_hash


def _write_prompt(folder: Path, name: str, inputs: str, template: str, recorded: Recorded) -> None:
    (folder / "prompts" / name).mkdir(parents=True)
    text = f"---\nmodel: openai:gpt-none\ninputs: {inputs}\n---\n{template}"
    (folder / "prompts" / name / "prompt.md").write_text(text)
    (folder / "prompts" / name / "output.schema.json").write_text(recorded.prompt.schema)
    (folder / "prompts" / name / "checks.json").write_text('{"row": [], "batch": []}')


def test_today_s_prompt_is_put_to_the_recorded_input_of_the_recorded_model(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = _ask(desk)
    _write_prompt(tmp_path, "newer", "[body]", "Anew: {{ body }}", recorded)
    _replay(desk, recorded, prompt="newer")
    assert desk.fake.calls[-1].body["messages"] == [{"role": "user", "content": "Anew: a red car"}]
    assert desk.fake.calls[-1].body["model"] == "gpt-fake"
    _replay(desk, recorded, prompt="newer", model="openai:gpt-other")
    assert desk.fake.calls[-1].body["model"] == "gpt-other"


def test_a_prompt_that_reads_what_the_row_has_not_is_refused_unsent(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded = _ask(desk)
    _write_prompt(tmp_path, "newer", "[body, tone]", "{{ tone }}: {{ body }}", recorded)
    with pytest.raises(PromptRefused, match=r"Prompt newer reads tone, and the recorded input of request \w+ has body"):
        _replay(desk, recorded, prompt="newer")
    assert len(desk.fake.calls) == 1


@pytest.mark.parametrize(
    ("scripted", "failure_class"),
    [
        (Scripted(refusal="I may not."), "refusal"),
        (Scripted(finish_reason="length"), "truncated"),
        (Scripted(text='{"label": "pink", "quote": "x"}'), "schema_invalid"),
        (Scripted(text="hello"), "malformed"),
        (Scripted(status=401), "auth"),
        (Scripted(model="gpt-sly"), "wrong_model"),
    ],
)
def test_a_failure_is_told_by_its_class_and_not_sent_again(desk: Desk, scripted: Scripted, failure_class: str) -> None:
    recorded = _ask(desk)
    desk.fake.answer = lambda _body: scripted
    done = _replay(desk, recorded)
    assert [a.failure_class for a in done.answers] == [failure_class]
    assert f"replay 1 failed, {failure_class}: " in describe(done)
    assert [row["outcome"] for row in _list(desk, recorded)] == ["failed"]
    assert len(desk.fake.calls) == 2


def test_what_would_meet_every_send_ends_the_replay(desk: Desk) -> None:
    recorded = _ask(desk)
    desk.fake.answer = lambda _body: Scripted(status=401)
    assert len(_replay(desk, recorded, times=5).answers) == 1


def test_a_failure_in_transit_is_sent_again_each_as_a_replay_of_its_own(desk: Desk) -> None:
    recorded = _ask(desk)
    scripted = iter([Scripted(status=503), Scripted(drop=True), {"label": "red", "quote": "x"}])
    desk.fake.answer = lambda _body: next(scripted)
    done = _replay(desk, recorded)
    assert (done.answers[0].output, done.answers[0].n_sends) == ({"label": "red", "quote": "x"}, 3)
    assert [row["failure_class"] for row in _list(desk, recorded)] == ["overload", "timeout", None]


def test_a_provider_that_stays_busy_is_left_after_four_sends(desk: Desk) -> None:
    recorded = _ask(desk)
    desk.fake.answer = lambda _body: Scripted(status=503)
    done = _replay(desk, recorded)
    assert (done.answers[0].failure_class, done.answers[0].n_sends) == ("overload", 4)


def test_the_row_checks_of_the_run_judge_what_comes(desk: Desk) -> None:
    prompt = desk.make_prompt({"rule": "max_chars", "field": "quote", "limit": 10})
    desk.fake.answer = _say("red")
    recorded = _ask(desk, prompt)
    desk.fake.answer = _say("red", "far too many words")
    done = _replay(desk, recorded)
    assert (done.answers[0].failure_class, done.answers[0].output) == (
        "check_failed",
        {"label": "red", "quote": "far too many words"},
    )
    assert recorded.checks_of == RUN


def test_over_the_nightly_cap_it_is_refused_in_a_line_and_nothing_is_sent(desk: Desk) -> None:
    recorded = _ask(desk)
    with pytest.raises(CallFailed, match=r"of the \$0\.000001 of night .* Raise OVERNIGHT_NIGHTLY_BUDGET_USD") as found:
        _replay(desk, recorded, nightly_budget_usd=0.000001)
    assert "\n" not in str(found.value)
    assert (len(desk.fake.calls), _list(desk, recorded)) == (1, [])


def test_under_a_nightly_cap_a_model_without_a_price_is_refused(desk: Desk) -> None:
    recorded = _ask(desk)
    with pytest.raises(ModelRefused, match=r"no price is known for openai:gpt-none"):
        _replay(desk, recorded, model="openai:gpt-none", nightly_budget_usd=1.0)


def test_a_purged_request_says_so_and_what_is_left(desk: Desk) -> None:
    recorded = _ask(desk)
    desk.house.tamper("UPDATE requests SET purged_at = 86400.0, input = ''")
    with pytest.raises(
        OvernightError, match=r"was purged on 1970-01-02: .*cannot be sent again. What is left"
    ) as found:
        _read(desk, recorded.key)
    assert "\n" not in str(found.value)


def test_a_request_of_another_embedded_model_than_today_s_is_refused(desk: Desk) -> None:
    recorded = _ask(desk)
    other = change(recorded.prompt, model="local:smollm2-135m", endpoint="sha256:" + "0" * 64)
    with pytest.raises(ModelRefused, match=r"the same bytes would ask another model|is not installed"):
        _replay(desk, change(recorded, prompt=other))


@pytest.mark.parametrize("database", DATABASES)
def test_a_beginning_of_a_key_names_all_that_begin_so(desk: Desk) -> None:
    keys = sorted(row["request_key"] for row in desk.ask(["one", "two"]))
    with desk.house.ledger.reading() as connection:
        assert find_keys(connection, keys[0][:9]) == [keys[0]]
        assert find_keys(connection, "") == keys


def test_a_replay_that_differs_leaves_answers_and_releases_as_they_were(desk: Desk) -> None:
    house = desk.house
    desk.fake.answer = _say("red")
    recorded = _ask(desk)
    house.offer(2, run_id="night-2")
    tables = ("completions", "quarantines", "attempts", "parts", "releases", "release_rows", "approvals", "outbox")
    before = {name: house.fetch(f"SELECT * FROM {name}") for name in tables}  # noqa: S608 - names of ours
    desk.fake.answer = _say("blue")
    _replay(desk, recorded, times=2)
    assert {name: house.fetch(f"SELECT * FROM {name}") for name in tables} == before  # noqa: S608 - the same
    # A run that comes to the same row takes what was accepted, and calls nobody.
    n_calls = len(desk.fake.calls)
    [row] = desk.ask(["a red car"], recorded.prompt, run_id=house.begin("night-3"))
    assert orjson.loads(row["output"])["label"] == "red"
    assert len(desk.fake.calls) == n_calls
    assert find_standing(house.ledger, "night-2", house.sink, now=time.time()) is None


def test_nothing_that_offers_or_delivers_knows_of_replays() -> None:
    root = Path(__file__).parents[3]
    knowing = {
        path.relative_to(root).as_posix()
        for folder in ("overnight", "tasks", "flows")
        for path in (root / folder).rglob("*.py")
        if "replays" in path.read_text()
    }
    offering = ("overnight/approve", "overnight/deliver", "overnight/page", "overnight/sinks", "tasks", "flows")
    assert "overnight/ledger/replays.py" in knowing
    assert not [name for name in knowing if name.startswith(offering)]


def test_private_values_are_hidden_unless_they_are_asked_for(desk: Desk) -> None:
    text = "---\nmodel: openai:gpt-fake\ninputs: [body]\nprivate: [quote]\n---\n{{ body }}"
    desk.fake.answer = _say("red", "call Ada Lovelace")
    recorded = _ask(desk)
    private = change(recorded.prompt, text=text, private=("quote",))
    done = _replay(desk, change(recorded, prompt=private))
    assert "Lovelace" not in describe(done) + str(as_object(done))
    assert "Lovelace" in describe(done, show_private=True)


def test_a_key_that_an_answer_spells_in_escapes_is_kept_in_no_replay(desk: Desk) -> None:
    desk.fake.answer = _say("red")
    recorded = _ask(desk)
    desk.fake.answer = lambda _: Scripted(text='{"label": "red", "quote": "sk-proj-0\\u0043anary1Of2A3Replay4"}')
    told = describe(_replay(desk, recorded))
    [kept] = _list(desk, recorded)
    assert orjson.loads(kept["output"])["quote"] == MASK
    assert MASK in told


def test_why_a_replay_failed_is_kept_without_private_values(desk: Desk) -> None:
    text = "---\nmodel: openai:gpt-fake\ninputs: [body]\nprivate: [quote]\n---\n{{ body }}"
    desk.fake.answer = _say("red")
    recorded = _ask(desk)
    desk.fake.answer = _say("red", "Ada Lovelace and " * 9)
    _replay(desk, change(recorded, prompt=change(recorded.prompt, text=text, private=("quote",))))
    [kept] = _list(desk, recorded)
    assert kept["message"] == "The answer does not fit the schema: /quote: your value is longer than 60 characters."


def test_the_prompt_s_folder_is_not_needed(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(tmp_path / "prompts", ignore_errors=True)
    monkeypatch.chdir(tmp_path)
    assert _replay(desk, _ask(desk)).answers[0].failure_class is None
