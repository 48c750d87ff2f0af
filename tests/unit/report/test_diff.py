"""Two runs, prompts or models over the same rows: who is paired with whom, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overnight.complete import Engine, complete_batch
from overnight.failures import OvernightError
from overnight.ledger.comparing import list_verdicts
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.ledger.trace_schema import readings
from overnight.records import ModelTerms, Prompt
from overnight.report.diff import Diff, agree, compare, find_p_value
from overnight.report.diff_page import as_object, render_diff_page
from overnight.report.diff_text import render_diff, render_diff_markdown
from tests.conftest import DATABASES, House
from tests.fakes.provider import FakeProvider, Scripted

#: One is refused under the second prompt, one relabelled, two differ in words.
TEXTS = ["one red", "two red", "three green", "four blue", "refuse five", "six red"]


def _answer(body: dict[str, Any]) -> Any:
    text = str(body["messages"][-1]["content"])
    words = text.partition("<query>")[2].partition("</query>")[0].split()
    if text.startswith("Anew"):
        if words[0] == "refuse":
            return Scripted(refusal="I may not.")
        return {"label": "blue" if words[-1] == "green" else words[-1], "quote": words[0].upper()[:3]}
    return {"label": words[-1] if words[0] != "refuse" else "red", "quote": words[0][:3]}


@pytest.fixture
def nights(house: House, fake: FakeProvider) -> Iterator[Callable[..., Prompt]]:
    """Runs nights of the texts under a prompt."""
    fake.answer = _answer
    terms = (ModelTerms("openai:gpt-fake", 1.0, 1.0), ModelTerms("openai:gpt-other", 2.0, 2.0))
    with closing(Engine(replace(house.settings, terms=terms), house.ledger)) as engine:

        def run(run_id: str, *, anew: bool = False, texts: list[str] = TEXTS, model: str | None = None) -> Prompt:
            text = "Anew: <query>{{ body }}</query>" if anew else "Sort this: <query>{{ body }}</query>"
            prompt = house.make_prompt(text=text, endpoint=fake.openai_base_url, model=model)
            house.begin(run_id)
            batch = house.read_batch(texts)
            house.ledger.write(lambda c: (pin_prompt(c, run_id, prompt), pin_model(c, run_id, prompt)))
            completed = complete_batch(batch, prompt, run_id=run_id, engine=engine)
            for manifest in (batch, completed):
                house.ledger.write(lambda c, m=manifest: record_batches(c, run_id, [m]))  # type: ignore[misc]
            return prompt

        yield run


def _compare(house: House, a: str, b: str, **options: Any) -> Diff:
    return compare(a, b, ledger=house.ledger, place=house.home, **options)


@pytest.fixture
def diff(house: House, nights: Callable[..., Prompt]) -> Diff:
    nights("night-1")
    nights("night-2", anew=True, texts=[*TEXTS, "seven red"])
    return _compare(house, "night-1", "night-2")


def test_two_runs_are_paired_by_row_and_input(diff: Diff) -> None:
    assert (diff.paired_by, diff.n_pairs, diff.n_only_a, diff.n_only_b, diff.n_other_input) == (
        "row id and input", 6, 0, 1, 0,
    )  # fmt: skip


def test_rows_whose_input_changed_are_counted_apart(house: House, nights: Callable[..., Prompt]) -> None:
    nights("night-1")
    nights("night-2", texts=["one red", "two blue", *TEXTS[2:]])
    diff = _compare(house, "night-1", "night-2")
    assert (diff.n_pairs, diff.n_other_input, diff.whole.n_same) == (5, 1, 5)


def test_outcomes_fields_and_labels_are_counted(diff: Diff) -> None:
    o = diff.outcomes
    assert (o.both_accepted, o.only_a, o.only_b, o.neither, o.unanswered, o.p_value) == (5, 1, 0, 0, 0, 1.0)
    assert {name: (f.n_same, f.n) for name, f in diff.fields.items()} == {"label": (4, 5), "quote": (0, 5)}
    assert (diff.whole.n_same, diff.whole.n) == (0, 5)
    assert [(c.field, c.a, c.b, c.n) for c in diff.label_changes] == [("label", "green", "blue", 1)]


def test_the_tests_are_the_known_ones() -> None:
    # McNemar, exact: 2 * P(X <= 1 | n = 10, p = 1/2).
    assert find_p_value(1, 9) == pytest.approx(2 * 11 / 1024)
    assert find_p_value(0, 0) is None
    found = agree(8, 10)
    assert (found.share, found.low, found.high) == (0.8, pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
    assert agree(0, 0).share is None


def test_each_side_s_requests_are_told_with_all_they_took(diff: Diff) -> None:
    a, b = diff.figures
    assert (a.n_requests, a.n_attempts, a.n_accepted, b.n_requests, b.n_accepted) == (6, 6, 6, 6, 5)
    assert a.cost_usd == pytest.approx((a.input_tokens + a.output_tokens) * 6 / 1e6)  # type: ignore[operator]
    assert b.cost_per_accepted_usd == pytest.approx(b.cost_usd / 5)  # type: ignore[operator]
    assert a.latency_p50_s is not None
    assert a.latency_p50_s <= a.latency_p95_s  # type: ignore[operator]


def test_examples_are_of_each_kind_and_the_same_every_time(diff: Diff, house: House) -> None:
    assert [(e.kind, e.row_id) for e in diff.examples[:3]] == [
        ("accepted by A alone", "r5"),
        ("label: green -> blue", "r3"),
        ("other words", diff.examples[2].row_id),
    ]
    assert diff.examples[1].changed == ("label", "quote")
    assert (diff.examples[0].b.state, diff.examples[0].b.failure_class) == ("quarantined", "refusal")
    assert _compare(house, "night-1", "night-2").examples == diff.examples
    assert len(_compare(house, "night-1", "night-2", limit=1).examples) == 1
    assert _compare(house, "night-1", "night-2", limit=0).examples == ()


@pytest.mark.parametrize("database", DATABASES)
def test_prompts_and_models_are_paired_by_input(house: House, nights: Callable[..., Prompt]) -> None:
    first, second = nights("night-1"), nights("night-2", anew=True)
    house.tamper("UPDATE prompts SET recorded_at = 2.0 WHERE prompt_hash = :h", h=bytes.fromhex(second.prompt_hash))
    by_hash = _compare(house, first.prompt_hash[:10], second.prompt_hash)
    assert (by_hash.paired_by, by_hash.n_pairs, by_hash.outcomes.only_a) == ("input", 6, 1)
    by_turn = _compare(house, "sort@previous", "sort@last")
    assert (by_turn.a.version.prompt_hash, by_turn.b.version.prompt_hash) == (first.prompt_hash, second.prompt_hash)
    assert by_turn.label_changes == by_hash.label_changes
    assert by_turn.examples[1].row_id is None
    nights("night-3", model="openai:gpt-other")
    models = _compare(house, "openai:gpt-fake", "openai:gpt-other")
    assert (models.a.version.prompt_hash, models.n_pairs) == (second.prompt_hash, 6)
    mixed = _compare(house, "night-1", "openai:gpt-other")
    assert (mixed.paired_by, mixed.n_pairs, mixed.whole.n_same) == ("input", 6, 6)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("night-9", "'night-9' is no run, and no NAME@last"),
        ("sort@previous", "sort@previous was never asked: the ledger has 1 such prompts"),
        ("0123456789", "0123456789 was never asked"),
        ("openai:gpt-none", "openai:gpt-none was never asked"),
        ("banana:gpt", "is not PROVIDER:NAME"),
    ],
)
def test_a_name_that_means_nothing_is_refused_in_a_line(
    house: House, nights: Callable[..., Prompt], name: str, said: str
) -> None:
    nights("night-1")
    with pytest.raises(OvernightError, match=said) as caught:
        _compare(house, "night-1", name)
    assert "\n" not in str(caught.value)


def test_a_run_that_has_asked_nothing_is_refused(house: House) -> None:
    house.begin("night-1")
    with pytest.raises(OvernightError, match="Run night-1 has asked nothing in step 1"):
        _compare(house, "night-1", "night-1")


def _read(house: House, row_id: str, verdict: str, run_id: str = "night-1") -> None:
    keys = {
        "r1": "one red", "r2": "two red", "r3": "three green",
    }  # fmt: skip
    key = house.fetch(
        f"SELECT lower(hex(r.request_key)) FROM requests r JOIN attempts a ON a.request_key = r.request_key"  # noqa: S608
        f" WHERE a.run_id = '{run_id}' AND r.input LIKE '%{keys[row_id]}%'"
    )[0][0]
    row = {
        "run_id": run_id, "step": 1, "row_id": row_id, "request_key": key, "output_digest": None, "verdict": verdict,
        "note": "", "reader": "Ada", "picked_for": "random", "recorded_at": 1.0,
    }  # fmt: skip
    house.ledger.write(lambda c: c.execute(readings.insert(), [row]) and None)


def test_what_readers_said_is_counted_for_each_side(house: House, nights: Callable[..., Prompt]) -> None:
    nights("night-1")
    nights("night-2", anew=True)
    _read(house, "r1", "correct")
    _read(house, "r3", "correct")
    _read(house, "r3", "wrong", run_id="night-2")
    _read(house, "r2", "unsure")
    diff = _compare(house, "night-1", "night-2")
    assert (diff.said.n_pairs, diff.said.n_readings, diff.said.n_verdicts) == (2, 2, 0)
    assert vars(diff.said.a) == {"right": 2, "wrong": 0, "unsaid": 0}
    assert vars(diff.said.b) == {"right": 0, "wrong": 1, "unsaid": 1}
    # What was judged is shown first among its kind.
    [example] = [e for e in diff.examples if e.row_id == "r3"]
    assert (example.a.said, example.b.said) == ("right", "wrong")
    assert next(e.row_id for e in diff.examples if e.kind == "other words") == "r1"


def test_the_same_answer_has_the_same_verdict(house: House, nights: Callable[..., Prompt]) -> None:
    nights("night-1")
    nights("night-2", model="openai:gpt-other")
    _read(house, "r1", "wrong")
    said = _compare(house, "night-1", "night-2").said
    assert (said.a.wrong, said.b.wrong) == (1, 1)


def test_a_correction_makes_the_side_right_that_says_so(house: House) -> None:
    house.approve(house.offer(3), r2={"corrected": {"label": "blue", "quote": "text 2"}})
    [(key,)] = house.fetch("SELECT lower(hex(request_key)) FROM release_rows WHERE row_id = 'r2'")
    with house.ledger.reading() as connection:
        [(prompt_hash,)] = house.fetch("SELECT lower(hex(prompt_hash)) FROM releases")
        said = {word.request_key: word for word in list_verdicts(connection, prompt_hash)}
    assert (said[key].verdict, said[key].correction is not None) == ("corrected", True)


def test_an_open_review_tells_nothing(house: House) -> None:
    release = house.offer(30, max_bad_share=0.0, n_reviewers=2)
    house.submit(release, house.answer(release))
    [(prompt_hash,)] = house.fetch("SELECT lower(hex(prompt_hash)) FROM releases")
    with house.ledger.reading() as connection:
        assert list_verdicts(connection, prompt_hash) == []


@pytest.mark.parametrize(("columns", "most"), [("60", 80), ("80", 80), ("91", 91), ("200", 100)])
def test_no_line_is_wider_than_the_terminal(
    diff: Diff, monkeypatch: pytest.MonkeyPatch, columns: str, most: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    long = Diff(**vars(diff) | {"fields": {"a_field_with_a_name_of_forty_characters_": diff.fields["label"]}})
    text = render_diff(long)
    assert most - 25 < max(map(len, text.splitlines())) <= most
    assert "cost" not in text
    assert "USD a row" in text


def test_the_text_is_read_at_a_hundred_columns(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = render_diff(diff)
    assert max(map(len, text.splitlines())) <= 100
    for wanted in (
        "6 pairs by row id and input; 0 only in A, 1 only in B",
        "A accepts                  5               1",
        "1 accepted by A alone, 0 by B alone; McNemar's exact test: p = 1.0000.",
        "5 pairs that both accept, 0 are the same in every field: 0.0% (0.0% to 43.4%), Wilson's 95 %",
        "       1  label: green -> blue",
        "Nobody has read any of these rows yet.",
        "refusal: The model refused: I may not.",
    ):
        assert wanted in text, text


def test_the_json_names_both_sides_and_has_every_count(diff: Diff) -> None:
    found = as_object(diff)
    assert (found["a"]["run_id"], found["b"]["prompt"], found["n_pairs"]) == ("night-1", "sort", 6)
    assert found["fields"]["label"]["n_same"] == 4
    assert found["examples"][0]["a"]["state"] == "accepted"


def test_what_rows_say_is_text_on_the_page_and_in_markdown(house: House, nights: Callable[..., Prompt]) -> None:
    evil = ["<script>alert(1)</script> [x](http://evil.example) red"]
    nights("night-1", texts=evil)
    nights("night-2", texts=evil, anew=True)
    diff = _compare(house, "night-1", "night-2")
    page = render_diff_page(diff)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http://" not in page.replace("http://evil.example", "").replace("http://127.0.0.1", "")
    markdown = render_diff_markdown(diff)
    assert "<script" not in markdown
    assert "](http" not in markdown


def test_private_values_are_hidden_unless_asked_for(house: House, nights: Callable[..., Prompt]) -> None:
    nights("night-1")
    nights("night-2", anew=True)
    house.tamper("UPDATE prompts SET text = replace(text, 'id: id', 'id: id' || char(10) || 'private: [body, label]')")
    hidden = _compare(house, "night-1", "night-2")
    for shown in (render_diff(hidden), render_diff_page(hidden), render_diff_markdown(hidden), str(as_object(hidden))):
        assert "three green" not in shown
        assert "green" not in shown
    assert "three green" in render_diff(_compare(house, "night-1", "night-2", show_private=True))


def test_rows_that_were_set_aside_at_intake_are_no_pairs(house: House, nights: Callable[..., Prompt]) -> None:
    nights("night-1", texts=["one red", ""])
    nights("night-2", texts=["one red", ""], anew=True)
    diff = _compare(house, "night-1", "night-2")
    assert (diff.n_pairs, diff.n_only_a, diff.n_only_b) == (1, 0, 0)


def test_a_purged_request_is_counted_and_not_compared(house: House, nights: Callable[..., Prompt]) -> None:
    first, second = nights("night-1"), nights("night-2", anew=True)
    house.tamper("UPDATE requests SET purged_at = 1.0, input = '' WHERE input LIKE '%one red%'")
    diff = _compare(house, first.prompt_hash, second.prompt_hash)
    assert (diff.n_pairs, diff.n_purged) == (5, 2)
    assert "2 purged" in render_diff(diff)


def test_the_page_can_be_written_anywhere(diff: Diff, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render_diff_page(diff))
    assert (tmp_path / "page.html").stat().st_size < 40_000
