"""Six weeks later: rows published, corrected, held, set aside and asked again, with the prompt's folder gone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight import checks
from overnight.checks import parse_checks
from overnight.complete import Engine, complete_batch, resolve_prompt
from overnight.deliver import deliver_release
from overnight.failures import OvernightError
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import record_batches, record_part
from overnight.ledger.releases import find_release
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.parts import read_part
from overnight.prompts import load_prompt
from overnight.records import BatchVerdict, Prompt
from overnight.report.why import explain_row, render_row
from overnight.report.why.page import render_page
from tests.conftest import DATABASES, RUN, House
from tests.fakes.provider import FakeProvider, Scripted, answer_by_schema

SIX_WEEKS_S = 6 * 7 * 86_400.0
CANARY = "<script>alert('canary')</script>"
PERSON = 'Ada "the" L\xf6we'
TEXT = """---
model: openai:gpt-fake
id: id
inputs: [body]
private: [body, quote]
parameters: {max_tokens: 50}
---
Sort this: <query>{{ body }}</query>
"""
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote", "why"],
    "properties": {
        "label": {"enum": ["red", "green", "blue"]},
        "quote": {"type": "string", "maxLength": 60},
        # Not private: of rows whose every text is hidden nobody could tell a seed.
        "why": {"type": "string"},
    },
}
_CHECKS = {
    "row": [{"rule": "max_chars", "field": "quote", "limit": 50}, {"rule": "verbatim", "field": "quote", "of": "body"}],
    "batch": [
        {
            "type": "expect_column_values_to_not_be_null",
            "kwargs": {"column": "label"},
            "meta": {"reason": "A row has a label."},
        }
    ],
}
#: r1 is published, r2 corrected, r3 held, r4 asked again and published, r5 set aside.
_TEXTS = ["a red car", "a blue car", "a green car", "an odd car", f"a made-up {CANARY} of {PERSON}".replace('"', '""')]


def _answer(body: dict[str, Any]) -> Scripted | dict[str, Any]:
    asked, text = body["messages"], str(body["messages"][-1]["content"])
    if "odd" in str(asked) and len(asked) == 1:
        return Scripted(text='{"label": "mauve", "quote": "odd first quote", "why": "It is odd."}')
    if "made-up" in str(asked):
        return Scripted(text=orjson.dumps({"label": "red", "quote": f"never said by {PERSON}", "why": "-"}).decode())
    if "a red car" in text:
        said = '{"label": "red", "quote": "a red car", "why": "Its first word after the article says it."}'
        return Scripted(text=said, reasoning="The car is red, so it is red.")
    if len(asked) > 1:
        return {"label": "red", "quote": "an odd car", "why": "Nothing else fits what was written about it."}
    return answer_by_schema(body) | {"why": f"There are {len(text)} letters in the question that was asked."}


class _Content:
    """Finds nothing wrong, at once."""

    def validate(self, *_: Any, docs_dir: Path, **__: Any) -> BatchVerdict:
        return BatchVerdict((), (), (), (), 1, str(docs_dir / "local_site" / "index.html"))


@dataclass(frozen=True)
class Later:
    """The house six weeks later."""

    house: House
    prompts: Path
    now: float

    def explain(self, row: Any, **options: Any) -> dict[str, Any]:
        found = explain_row(
            row,
            **{
                "run_id": None,
                "ledger": self.house.ledger,
                "place": self.house.home,
                "prompts": self.prompts,
                "now": self.now,
                "approval_key": self.house.settings.approval_key,
                "shows_private": True,
                **options,
            },
        )
        assert orjson.dumps(found)
        return found

    def tell(self, row: Any, **options: Any) -> str:
        return render_row(self.explain(row, **options), is_full=True)


def write_prompt(folder: Path, text: str = TEXT) -> None:
    """The prompt's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompt.md").write_text(text)
    (folder / "output.schema.json").write_bytes(orjson.dumps(_SCHEMA))
    (folder / "checks.json").write_bytes(orjson.dumps(_CHECKS))


def _run(house: House, prompt: Prompt) -> None:
    house.begin()
    house.ledger.write(lambda c: record_prompt(c, prompt, time.time()))
    house.ledger.write(lambda c: pin_prompt(c, RUN, prompt))
    house.ledger.write(lambda c: pin_model(c, RUN, prompt))
    batch = house.read_batch(_TEXTS)
    with closing(Engine(house.settings, house.ledger)) as engine:
        completed = complete_batch(batch, prompt, run_id=RUN, engine=engine)
    checked = checks.check_batch(
        completed,
        read_part(completed.part, house.home),
        parse_checks(prompt.checks, prompt=prompt.name),
        prompt.checks_hash,
        _Content(),
        suite_name="sort",
        docs_dir=house.home / "docs",
        place=house.home,
        home=house.home,
    )
    house.ledger.write(lambda c: record_part(c, "check", checked, 1.0))
    for manifest in (batch, completed, checked):
        house.ledger.write(lambda c, m=manifest: record_batches(c, RUN, [m]))  # type: ignore[misc]
    house.offer_checked([checked], prompt)


@pytest.fixture
def later(house: House, fake: FakeProvider, tmp_path: Path) -> Later:
    fake.answer = _answer
    prompts = tmp_path / "prompts"
    write_prompt(prompts / "sort")
    _run(house, resolve_prompt(load_prompt("sort", prompts), endpoint=fake.openai_base_url))
    with house.ledger.reading() as connection:
        release = find_release(connection, RUN)
    assert release is not None
    approval = house.approve(
        release, r2={"corrected": {"label": "green", "quote": "a blue car", "why": "It is green."}}, r3="wrong"
    )
    deliver_release(approval, ledger=house.ledger, settings=house.settings)
    shutil.rmtree(prompts)
    (house.home / "source-1.csv").unlink()
    return Later(house, prompts, time.time() + SIX_WEEKS_S)


def _in_order(told: str, *parts: str) -> bool:
    places = [told.find(part) for part in parts]
    assert -1 not in places, [part for part, place in zip(parts, places, strict=True) if place < 0]
    return places == sorted(places)


@pytest.mark.parametrize("database", DATABASES)
def test_a_published_row_is_told_from_its_input_to_its_receipt(later: Later) -> None:
    told = later.tell("r1")
    assert _in_order(
        told,
        "row r1",
        "delivered: file:",
        '"body": "a red car"',
        "prompt sort",
        "the folder is gone",
        "Sort this: <query>{{ body }}</query>",
        "model asked: openai:gpt-fake",
        "attempt 1: accepted",
        "model served gpt-fake",
        "The car is red, so it is red.",
        "row check max_chars(quote): passed",
        "row check verbatim(quote): passed",
        "rule of the batch expect_column_values_to_not_be_null(label): passed",
        "Data Docs: docs/",
        "approved by Ada",
        "signature verified",
        "delivery: delivered",
    )
    assert "this row: item " in told
    assert ", 6 weeks ago" in told
    assert '"row_id": "r1"' in told.split("what was sent", 1)[1]


def test_a_corrected_row_is_told_as_it_was_and_as_it_left(later: Later) -> None:
    told = later.tell("r2")
    assert _in_order(told, ": corrected", "left as corrected", "before", "after", "delivery: delivered")
    before, after = told.split("left as corrected", 1)[1].split("after:", 1)
    assert '"label": "green"' in after.split("delivery", 1)[0]
    assert '"label": "green"' not in before


def test_a_held_row_is_told_as_one_that_did_not_leave(later: Later) -> None:
    told = later.tell("r3")
    assert _in_order(told, "approved by Ada", "held: wrong", "it did not leave")
    assert "delivery:" not in told


def test_a_row_that_was_asked_again_is_told_with_each_attempt(later: Later) -> None:
    told = later.tell("r4")
    assert _in_order(
        told, "attempt 1: failed", "schema_invalid", "odd first quote", "attempt 2 (reask): accepted",
        "answer accepted, of attempt 2",
    )  # fmt: skip


def test_a_row_that_was_set_aside_says_which_check_refused_it(later: Later) -> None:
    told = later.tell("r5")
    assert _in_order(
        told,
        "quarantined: check_failed, rule verbatim(quote)",
        "refused for good: check_failed, rule verbatim(quote)",
        "row check max_chars(quote): passed",
        "row check verbatim(quote): FAILED",
        "rule of the batch expect_column_values_to_not_be_null(label): not reached",
    )
    assert "never said by" in told
    assert "release" not in told


def test_what_changed_in_the_prompt_since_is_told_line_by_line(later: Later) -> None:
    write_prompt(later.prompts / "sort", TEXT.replace("Sort this", "Sort the colour of this"))
    (later.prompts / "sort" / "checks.py").write_text("def check(): ...\n")
    told = later.tell("r1")
    assert "-Sort this: <query>{{ body }}</query>" in told
    assert "+Sort the colour of this: <query>{{ body }}</query>" in told
    assert "output.schema.json: unchanged since" in told
    assert "+def check(): ..." in told
    write_prompt(later.prompts / "sort")
    (later.prompts / "sort" / "checks.py").unlink()
    assert "now: unchanged" in later.tell("r1")


def test_a_newer_version_of_the_prompt_is_told_with_its_answer(later: Later, fake: FakeProvider) -> None:
    house = later.house
    newer = house.make_prompt(endpoint=fake.openai_base_url, text="Which colour? {{ body }}")
    house.tamper("UPDATE prompts SET recorded_at = :at WHERE text LIKE '%Which colour%'", at=later.now)
    fake.answer = answer_by_schema
    house.begin("night-2")
    with closing(Engine(house.settings, house.ledger)) as engine:
        complete_batch(house.read_batch(["a red car"], 2), newer, run_id="night-2", engine=engine)
    told = later.tell("r1")
    assert f"newer, hash {newer.prompt_hash}" in told
    assert "answered this input too" in told
    assert "this input has no answer under it" in later.tell("r3")


def _keys(later: Later) -> dict[str, Any]:
    [[key, delivery]] = later.house.fetch(
        "SELECT lower(hex(request_key)), lower(hex(delivery_key)) FROM release_rows WHERE row_id = 'r1'"
    )
    return {"key": key, "delivery": delivery}


@pytest.mark.parametrize(
    "start",
    [
        lambda at: at["key"],
        lambda at: at["key"].upper(),
        lambda at: at["key"][:12],
        lambda at: at["delivery"],
        lambda at: at["line"],
        lambda at: f"{at['out']}:1",
    ],
    ids=["request key", "in capitals", "first digits", "delivery key", "a line", "file and line"],
)
def test_every_thing_in_hand_leads_to_the_same_row(later: Later, start: Callable[[dict[str, str]], str]) -> None:
    out = later.house.out
    at = _keys(later) | {"out": str(out), "line": out.read_text().splitlines()[0]}
    assert later.explain(start(at)) == later.explain("r1")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_row_of_a_table_leads_to_its_trace(later: Later, tmp_path: Path, suffix: str) -> None:
    from overnight.sinks.formats import format_rows  # noqa: PLC0415

    path = tmp_path / f"out{suffix}"
    path.write_bytes(format_rows(later.house.out.read_bytes().splitlines(), suffix, str(path)))
    assert later.explain(f"{path}:2")["row_id"] == "r2"
    with pytest.raises(OvernightError, match="has no row 9"):
        later.explain(f"{path}:9")


@pytest.mark.parametrize(
    ("line", "fault"),
    [("no json", "is not JSON|cannot be read"), ('{"a": 1}', "names no row"), ("[1]", "names no row")],
)
def test_a_line_that_is_no_row_is_refused_in_one_line(later: Later, tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "some.jsonl").write_text(f"{line}\n")
    with pytest.raises(OvernightError, match=fault) as caught:
        later.explain(f"{tmp_path / 'some.jsonl'}:1")
    assert "\n" not in str(caught.value)


def test_digits_that_begin_several_keys_are_answered_with_all_of_them(later: Later) -> None:
    house = later.house
    for end in ("00", "ff"):
        house.tamper(
            "INSERT INTO requests (request_key, prompt_hash, input, body, recorded_at)"  # noqa: S608
            f" SELECT x'{'0123456789' + 27 * end}', prompt_hash, input, body, recorded_at FROM requests LIMIT 1"
        )
    with pytest.raises(OvernightError, match=r"several request keys: 01234567890+, 0123456789f+\.") as caught:
        later.explain("0123456789")
    assert "\n" not in str(caught.value)


def test_a_signature_that_does_not_fit_is_told(later: Later) -> None:
    later.house.tamper("UPDATE approvals SET reviewer = 'Eve'")
    assert "signature altered" in later.tell("r1")
    assert "signature not verified" in later.tell("r1", approval_key=None)


@pytest.mark.parametrize("row", ["r1", "r2", "r3", "r4", "r5"])
def test_what_the_prompt_declares_private_is_shown_nowhere_unless_asked_for(later: Later, row: str) -> None:
    values = {"r4": ["an odd car", "odd first quote"], "r5": ["Ada", "Löwe", "L\\u00f6we", "canary", "never said"]}
    private = values.get(row, ["a red car", "a blue car", "a green car"])
    told = later.explain(row, shows_private=False)
    for text in (render_row(told, is_full=True), render_page(told), orjson.dumps(told).decode()):
        assert not [value for value in private if value in text]
        assert "[private: body]" in text
    assert "--show-private" in render_row(told)
    assert any(value in later.tell(row) for value in private)


def test_a_prompt_that_cannot_be_read_any_more_shows_nothing_of_the_row(later: Later) -> None:
    broken = TEXT.replace("id: id", "of_old: private")
    later.house.tamper("UPDATE run_prompts SET text = :text", text=broken)
    told = later.explain("r1", shows_private=False)
    assert told["private"] == ["body", "label", "quote", "why"]
    assert "a red car" not in orjson.dumps(told).decode()


def test_an_answer_that_is_cut_off_shows_no_private_value(later: Later, fake: FakeProvider) -> None:
    house = later.house
    fake.answer = lambda _: Scripted(text='{"label": "red", "quote": "unheard of', finish_reason="length")
    write_prompt(later.prompts / "sort")
    prompt = resolve_prompt(load_prompt("sort", later.prompts), endpoint=fake.openai_base_url)
    house.begin("night-2")
    batch = house.read_batch(["some other words"], 2)
    with closing(Engine(house.settings, house.ledger)) as engine:
        completed = complete_batch(batch, prompt, run_id="night-2", engine=engine)
    house.ledger.write(lambda c: record_batches(c, "night-2", [completed]))
    assert "unheard of" in later.tell("r1", run_id="night-2")
    told = later.explain("r1", run_id="night-2", shows_private=False)
    assert "unheard of" not in orjson.dumps(told).decode()
    assert "private from here on" in render_row(told, is_full=True)


def test_the_page_is_whole_and_does_nothing_but_be_read(later: Later) -> None:
    page = render_page(later.explain("r5"))
    assert CANARY not in page
    assert "&lt;script&gt;alert" in page
    assert "<script" not in page
    assert "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"" in page
    assert "src=" not in page.replace("-src ", "")
    assert page.index("row r5") < page.index("never said by") < page.index("refused for good")


def test_what_a_purge_dropped_is_told_by_its_digest(later: Later) -> None:
    house, key = later.house, _keys(later)["key"]
    house.tamper("UPDATE bodies SET data = x''")
    house.tamper(f"UPDATE requests SET input = '', purged_at = {later.now - 86_400} WHERE request_key = x'{key}'")  # noqa: S608
    house.tamper(f"DELETE FROM completions WHERE request_key = x'{key}'")  # noqa: S608
    house.tamper(
        "INSERT INTO purged_answers (request_key, attempt_id, output_digest, settled_at, purged_at)"  # noqa: S608
        f" VALUES (x'{key}', 1, x'{'ab' * 32}', 5.0, {later.now - 86_400})"
    )
    for part in (house.home / "parts").rglob("*.parquet"):
        part.unlink()
    told = later.tell("r1")
    assert _in_order(
        told, "input", "dropped by the purge of", "1 day ago", "answer accepted", "ab" * 32, "delivery: delivered"
    )
    assert "a red car" not in told.split("attempt 1", 1)[0]
