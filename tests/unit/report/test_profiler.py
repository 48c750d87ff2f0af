from __future__ import annotations

import json
import random
from typing import Any

from overnight.keys import digest_bytes
from overnight.prompts import parse_prompt
from overnight.records import Prompt
from overnight.report.drift import compare_profiles
from overnight.report.profile import N_LANGUAGES, N_LENGTHS, N_SPREAD, Counts, Profile, Rate, Spread
from overnight.report.profiler import Profiler

_FRONT = (
    "---\nmodel: openai:gpt-fake\ninputs: [body, channel]\nprivate: {private}\n---\n{{{{ body }}}} {{{{ channel }}}}"
)
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote", "urgent"],
    "properties": {
        "label": {"anyOf": [{"enum": ["red", "green"]}, {"type": "null"}]},
        "quote": {"type": "string"},
        "urgent": {"type": "boolean"},
    },
}
GERMAN = "Guten Tag, meine Karte ist seit zwei Wochen nicht angekommen."


def make_prompt(*private: str) -> Prompt:
    text = _FRONT.format(private=json.dumps(private))
    return parse_prompt("sort", text=text, schema=json.dumps(_SCHEMA), checks='{"row": [], "batch": []}')


def make_row(at: int, **changes: Any) -> dict[str, Any]:
    given = {"body": f"row {at}", "channel": "app"} | changes.pop("given", {})
    output = {"label": "red", "quote": "short", "urgent": False} | (changes.pop("output", {}) or {})
    row = {
        "row_id": f"r{at}",
        "input": json.dumps(given),
        "state": "accepted",
        "request_key": digest_bytes(str(at).encode()),
        "output": json.dumps(output),
        "failure_class": None,
        "rule": None,
    }
    return row | changes


def profile(rows: list[dict[str, Any]], *private: str, rates: dict[str, Rate] | None = None) -> Profile:
    profiler = Profiler(make_prompt(*private), len(rows))
    for row in rows:
        profiler.take(row)
    return profiler.finish(rates or {})


def test_labels_lengths_and_structure_of_accepted_answers_are_counted() -> None:
    rows = [make_row(at, output={"label": "green" if at % 4 else "red"}) for at in range(40)]
    rows.append(make_row(40, output={"label": None}))
    found = profile(rows)
    assert found.counts["output.label"] == Counts(41, {"green": 30, "null": 1, "red": 10})
    assert found.counts["output.urgent"].values == {"false": 41}
    assert found.counts["answer.structure"].values == {
        "{label:null,quote:text,urgent:bool}": 1,
        "{label:text,quote:text,urgent:bool}": 40,
    }
    quote = found.lengths["output.quote.length"]
    assert (quote.n, quote.mean, quote.bins, set(quote.sample)) == (41, 5.0, {"4": 41}, {5})
    assert "output.quote" not in found.counts


def test_a_column_of_few_values_is_a_category_and_its_rare_values_have_no_name() -> None:
    rows = [make_row(at, given={"channel": ["app", "web"][at % 2]}) for at in range(40)]
    rows.append(make_row(40, given={"channel": "Mrs Miller"}))
    found = profile(rows)
    [number] = found.counts["input.channel"].rare
    assert found.counts["input.channel"] == Counts(41, {"app": 20, "web": 20}, {number: 1})
    assert "input.body" not in found.counts
    assert "Miller" not in str(found)


def draw_night(n: int, n_values: int, seed: int) -> Profile:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    return profile([make_row(at, given={"channel": f"value {dice.randrange(n_values)}"}) for at in range(n)])


def test_categories_of_many_values_that_did_not_change_hardly_ever_differ() -> None:
    dice, raised = random.Random(7), []  # noqa: S311 - a test's dice
    for at in range(25):
        n, n_values = dice.randint(400, 1400), dice.randint(60, 200)
        raised += compare_profiles(draw_night(n, n_values, 2 * at), draw_night(n, n_values, 2 * at + 1))[:1]
    assert raised == []


def test_a_value_that_was_just_common_enough_for_a_name_is_not_none_when_it_is_not() -> None:
    def draw(n_web: int) -> Profile:
        return profile([make_row(at, given={"channel": "web" if at < n_web else "app"}) for at in range(40)])

    [(_, change)] = [(c.of, c) for c in compare_profiles(draw(25), draw(4)) if c.of == "web"]
    assert change.words == "input.channel: web 62.5 % → 10.0 %; in its place app rose 37.5 % → 90.0 %"
    assert compare_profiles(draw(5), draw(4)) == []


def test_a_value_whose_rows_all_went_is_found_by_name() -> None:
    old = profile([make_row(at, given={"channel": ["app", "web", f"n{at % 7}"][at % 3]}) for at in range(120)])
    new = profile([make_row(at, given={"channel": ["app", "app", f"n{at % 7}"][at % 3]}) for at in range(120)])
    found = {c.of: c.words for c in compare_profiles(old, new)}
    assert found["web"] == "input.channel: web 33.3 % → 0 %; in its place app rose 33.3 % → 66.7 %"


def test_structures_beyond_those_kept_by_name_are_counted_alike_whatever_came_first() -> None:
    rows = [make_row(at, output={"label": None, f"key{at % 300}": 1}) for at in range(1500)]
    one, other = profile(rows), profile(rows[::-1])
    assert one.counts["answer.structure"] != other.counts["answer.structure"]
    assert sum(one.counts["answer.structure"].rare.values()) == 500
    assert compare_profiles(one, other) == []


def test_of_a_column_that_is_no_category_it_is_told_how_many_values_it_has() -> None:
    rows = [
        make_row(at, given={"channel": f"n{at}" if at % 4 else "a channel with a name that is long indeed"})
        for at in range(3_000)
    ]
    found = profile(rows)
    assert not {"input.channel", "input.body"} & {*found.counts}
    assert found.spreads["input.body"] == Spread(N_SPREAD, N_SPREAD, 0)
    told = found.spreads["input.channel"]
    assert (told.n, told.n_values + told.n_long) == (N_SPREAD, N_SPREAD)
    assert 0.2 * N_SPREAD < told.n_long < 0.3 * N_SPREAD


def test_a_category_that_turns_into_different_values_is_found() -> None:
    before = profile([make_row(at, given={"channel": ["app", "web"][at % 2]}) for at in range(100)])
    after = profile([make_row(at, given={"channel": f"person {at}"}) for at in range(100)])
    assert [(c.what, c.measure) for c in compare_profiles(before, after)] == [
        ("input.channel", "gone"),
        ("input.channel.length", "ks"),
    ]


def test_languages_are_told_of_texts_that_are_long_enough() -> None:
    found = profile([make_row(1), *(make_row(at, given={"body": GERMAN}) for at in range(2, 5))])
    assert found.counts["input.body.language"] == Counts(3, {"de": 3})


def test_of_private_fields_only_lengths_are_kept() -> None:
    rows = [make_row(at, given={"body": GERMAN, "channel": "secret"}, output={"label": "green"}) for at in range(30)]
    found = profile(rows, "body", "channel", "label", "quote")
    assert set(found.counts) == {"output.urgent", "answer.structure"}
    assert {"input.body.length", "input.channel.length", "output.quote.length"} <= set(found.lengths)
    assert not {"secret", "green", "de"} & {v for counts in found.counts.values() for v in counts.values}


def test_rows_that_were_set_aside_count_as_rates_and_give_no_output() -> None:
    refused = {"state": "quarantined", "output": None}
    rows = [
        *(make_row(at) for at in range(8)),
        make_row(8, failure_class="refusal", rule=None, **refused),
        make_row(9, failure_class="check_failed", rule="max_chars(quote)", **refused),
        make_row(10, failure_class="missing_value", rule=None, **refused, input=None, request_key=None),
        make_row(11, output={"quote": "I cannot determine the category."}),
    ]
    found = profile(rows, rates={"rate.refusals": Rate(1, 11)})
    assert found.rates == {
        "rate.refusals": Rate(1, 11),
        "rate.hedges": Rate(1, 9),
        "rate.quarantined": Rate(3, 12),
        "rate.quarantined.refusal": Rate(1, 12),
        "rate.quarantined.check_failed.max_chars(quote)": Rate(1, 12),
        "rate.quarantined.missing_value": Rate(1, 12),
    }
    assert found.lengths["answer.length"].n == 9
    assert found.lengths["input.body.length"].n == 11


def test_a_sample_of_lengths_is_bounded_and_the_same_whatever_the_order() -> None:
    rows = [make_row(at, given={"body": "x" * (at % 300)}) for at in range(3 * N_LENGTHS)]
    one = profile(rows).lengths["input.body.length"]
    random.Random(1).shuffle(rows)  # noqa: S311 - a test's dice
    assert profile(rows).lengths["input.body.length"] == one
    assert len(one.sample) == N_LENGTHS
    assert sum(one.bins.values()) == one.n == len(rows)


def make_thanks(seed: int, n: int = 6_000) -> list[dict[str, Any]]:
    """Rows of which every tenth says the same, by one request; the seed is the night's, and its prompt's version."""
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    texts = ["thanks!!" if dice.random() < 0.1 else "x " * dice.randint(20, 200) for _ in range(n)]
    keys = (digest_bytes(f"{seed} {text}".encode()) for text in texts)
    return [
        make_row(at, row_id=f"{seed}-{at}", request_key=key, given={"body": text})
        for at, (text, key) in enumerate(zip(texts, keys, strict=True))
    ]


def test_rows_that_repeat_one_text_are_in_the_sample_as_often_as_among_all() -> None:
    nights = [profile(make_thanks(seed)) for seed in range(8)]
    for night in nights:
        sample = night.lengths["input.body.length"].sample
        assert 0.07 < sample.count(len("thanks!!")) / len(sample) < 0.13
    changes = [c for at in range(0, 8, 2) for c in compare_profiles(nights[at], nights[at + 1])]
    assert changes == []


def test_samples_are_bounded_also_where_all_rows_are_one_request() -> None:
    rows = [make_row(1, row_id=f"r{at}", given={"body": GERMAN}) for at in range(2 * N_LENGTHS)]
    profiler = Profiler(make_prompt(), len(rows))
    for row in rows:
        profiler.take(row)
    found = profiler.finish({})
    assert len(found.lengths["input.body.length"].sample) == N_LENGTHS
    assert found.counts["input.body.language"] == Counts(N_LANGUAGES, {"de": N_LANGUAGES})
    assert len(profiler.keys) <= 1


def test_a_request_that_many_rows_share_is_followed_once() -> None:
    profiler = Profiler(make_prompt(), 30)
    for at in range(30):
        profiler.take(make_row(at % 3, row_id=f"r{at}"))
    assert len(profiler.keys) == len(set(profiler.keys)) == 3
