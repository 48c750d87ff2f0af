from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.approve.seeds.likeness import list_words
from overnight.approve.seeds.making import make_seeds
from overnight.approve.seeds.own import load_mutators
from overnight.records import Answered

PROMPTS = Path(__file__).parents[3] / "prompts"
TRIAGE, BANKING = (
    json.loads((PROMPTS / name / "output.schema.json").read_text()) for name in ("triage_ticket", "route_banking_query")
)
TICKETS = [
    ("billing", "normal", "the March invoice", "Our accountant waits for the bill, a March invoice"),
    ("login", "high", "the password mail", "Without a password no login, and no mail arrives"),
    ("bug", "normal", "the wish list", "The app crashes on the wish list of my tablet"),
    ("shipping", "high", "the lost parcel", "Your courier says delivered, nobody has that parcel"),
    ("cancellation", "low", "the coffee subscription", "Please cancel my coffee subscription"),
    ("other", "low", "gift vouchers", "Do you sell gift vouchers in Vienna?"),
]
QUERIES = [
    ("card_arrival", "When will my new card arrive in the post?"),
    ("exchange_rate", "Which exchange rate do you use for dollars?"),
    ("pin_blocked", "My PIN is blocked after three attempts"),
    ("verify_my_identity", "What papers verify who I am, is a passport identity enough?"),
    ("top_up_failed", "The app refused when I tried to top up"),
    ("transfer_timing", "How many days until a transfer reaches Spain?"),
    ("age_limit", "At which age can my daughter open one?"),
    ("lost_or_stolen_phone", "Somebody has stolen my phone on the train"),
]


def ticket(n, category, urgency, what, body):
    reply = f"Dear customer, we are sorry for the trouble with {what}. A colleague will write to you about {what}."
    output = {"category": category, "urgency": urgency, "summary": f"It is about {what}.", "reply": reply}
    return Answered(f"t{n}", {"subject": None, "body": body}, output)


TICKET_ROWS = [ticket(n, *facts) for n, facts in enumerate(TICKETS)]
QUERY_ROWS = [
    Answered(f"q{n}", {"text": text}, {"intent": intent, "confidence": 0.9, "evidence": text[4:]})
    for n, (intent, text) in enumerate(QUERIES)
]


def seeds_of(rows, schema=None, own=(), seed=1, bases=None):
    return make_seeds(rows, range(len(rows)) if bases is None else bases, schema or {}, own, random.Random(seed))  # noqa: S311 - a draw


def one_seed(output, schema=None):
    return [seed.output for seed in seeds_of([Answered("r", {"body": "Hello"}, output)], schema)]


words = st.text(alphabet="abcdeéß日本 .\n", max_size=60)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(words, v, max_size=3), max_leaves=5)
outputs = st.dictionaries(st.sampled_from(["label", "text", "extra", "n"]), values, max_size=4)
answers = st.builds(Answered, words, st.dictionaries(st.sampled_from(["body", "subject"]), values), outputs)


@given(st.lists(answers, min_size=1, max_size=8), st.integers())
def test_a_seed_has_the_fields_of_its_row_and_never_its_answer(rows, seed):
    schema = {"properties": {"text": {}, "label": {"enum": ["a", "b", None]}, "n": {"minimum": 0, "maximum": 9}}}
    before = json.dumps([row.output for row in rows])
    found = seeds_of(rows, schema, seed=seed)
    assert found == seeds_of(rows, schema, seed=seed)
    assert json.dumps([row.output for row in rows]) == before
    for made in found:
        assert made.output != rows[made.base].output
        assert made.output.keys() == rows[made.base].output.keys()
        json.dumps(made.output, allow_nan=False)
    bases = {made.base for made in found}
    assert all(n in bases for n, row in enumerate(rows) if any(type(v) in {int, bool} for v in row.output.values()))


def test_fields_keep_the_order_of_the_schema():
    rows = [Answered(r.row_id, r.input, dict(sorted(r.output.items(), reverse=True))) for r in TICKET_ROWS]
    assert {tuple(seed.output) for seed in seeds_of(rows, TRIAGE)} == {tuple(TRIAGE["properties"])}


def test_one_call_makes_seeds_in_several_ways():
    assert len({seed.how for seed in seeds_of(TICKET_ROWS, TRIAGE)}) == 4


@pytest.mark.parametrize("seed", range(8))
def test_a_tickets_seed_speaks_of_something_else_or_breaks_off_or_is_filed_wrong(seed):
    for made in seeds_of(TICKET_ROWS, TRIAGE, seed=seed):
        row, what = TICKET_ROWS[made.base], TICKETS[made.base][2]
        own = list_words(what) - {"the"}
        if made.how == "the label of another row":
            assert made.output == {**row.output, "category": made.output["category"]}
            assert "other" not in {row.output["category"], made.output["category"]}
        elif made.how == "the longest text cut short":
            cut = made.output["reply"]
            assert row.output["reply"].startswith(cut)
            assert row.output["reply"][len(cut)].isalpha()
            assert 20 <= len(cut) < len(row.output["reply"]) / 2
            assert made.output == {**row.output, "reply": cut}
        else:
            assert not own & list_words(made.output["reply"])
            is_whole = made.how == "the answer of another row"
            assert bool(own & list_words(made.output["summary"])) != is_whole


@pytest.mark.parametrize("seed", range(8))
def test_a_banking_seed_is_another_rows_answer_or_another_subjects_intent(seed):
    for made in seeds_of(QUERY_ROWS * 5, BANKING, load_mutators("route_banking_query", PROMPTS), seed):
        row = (QUERY_ROWS * 5)[made.base]
        assert made.output["intent"] in BANKING["properties"]["intent"]["enum"]
        assert not list_words(made.output["intent"]) & list_words([row.input, row.output["intent"]])
        assert made.how != "the longest text cut short", "a shorter quotation is a quotation still"


def test_degrees_are_not_taken_for_subjects():
    rows = [
        Answered(r.row_id, r.input, {"urgency": r.output["urgency"], "reply": r.output["reply"]}) for r in TICKET_ROWS
    ]
    made = [s for seed in range(8) for s in seeds_of(rows, TRIAGE, seed=seed)]
    assert "the label of another row" not in {seed.how for seed in made}


def test_a_like_row_lends_nothing():
    twins = [ticket(n, "shipping", "high", "your parcel", f"My parcel {n} has not come") for n in range(30)]
    assert {seed.how for seed in seeds_of(twins, TRIAGE)} == {"the longest text cut short"}


def test_a_reply_that_fits_every_row_is_not_lent():
    rows = [
        Answered(r.row_id, r.input, {"reply": "Thank you, we look into it and will write soon."}) for r in TICKET_ROWS
    ]
    assert {seed.how for seed in seeds_of(rows)} == {"the longest text cut short"}


def test_texts_without_spaces_are_told_apart():
    texts = ["我的新卡什么时候到", "外汇兑换率是多少呢", "密码输错三次被锁定"]
    rows = [Answered(str(n), {"text": text}, {"summary": f"{text}客户询问"}) for n, text in enumerate(texts)]
    made = [s for seed in range(5) for s in seeds_of(rows, seed=seed)]
    assert {seed.output["summary"][:9] for seed in made if "another row" in seed.how} == set(texts)


def test_lists_and_objects_are_lent_whole():
    rows = [
        Answered("1", {"body": "two red chairs"}, {"items": [{"name": "red chair", "n": 2}], "note": None}),
        Answered("2", {"body": "seven blue lamps"}, {"items": [{"name": "blue lamp", "n": 7}], "note": None}),
    ]
    swapped = [rows[1].output, rows[0].output]
    assert [seed.output for seed in seeds_of(rows)] == swapped


def test_an_answer_that_says_less_is_not_lent():
    rows = [
        Answered("1", {"body": "two red chairs"}, {"items": ["red chair"], "place": "Bonn"}),
        Answered("2", {"body": "seven blue lamps"}, {"items": [], "place": "Rome"}),
    ]
    first, second = seeds_of(rows)
    assert first.how == "its own values out of order"
    assert second.output == rows[0].output


@pytest.mark.parametrize("output", [{}, {"a": None}, {"a": [], "b": ""}, {"a": {"b": " "}}])
def test_an_answer_without_any_value_has_no_seed(output):
    assert one_seed(output) == []


def test_the_last_resort_works_on_one_row_alone():
    shuffled = one_seed({"text": "one two three four five"})[0]["text"]
    assert sorted(shuffled.split()) == ["five", "four", "one", "three", "two"]
    assert one_seed({"is_spam": True}) == [{"is_spam": False}]
    assert one_seed({"n": 12, "share": 0.4})[0]["n"] > 12_000
    assert one_seed({"n": 5}, {"properties": {"n": {"minimum": 1, "maximum": 5}}}) == [{"n": 1}]
    assert one_seed({"n": 10**30, "x": 1.5e308})[0]["n"] < 10**30
    steps = {"properties": {"label": {"enum": ["low", "high"]}}}
    assert one_seed({"label": "low", "confidence": 0.4}, steps) == [{"label": "high", "confidence": 0.4}]
    assert one_seed({"list": [{"yes": False}]}) == [{"list": [{"yes": True}]}]
    assert sorted(one_seed({"city": "Bonn"})[0]["city"]) == sorted("Bonn")
    assert one_seed({"grade": "A"}) == [{"grade": "A A A"}]


def test_a_million_rows_are_not_read():
    class Many(list):
        n_read = 0

        def __len__(self):
            return 1_000_000

        def __getitem__(self, index):
            self.n_read += 1
            return TICKET_ROWS[index % len(TICKET_ROWS)]

        def __iter__(self):
            raise AssertionError("a pass over all rows")

    rows = Many()
    assert len(seeds_of(rows, TRIAGE, bases=[5, 999_999])) == 2
    assert rows.n_read < 1000


def test_own_mutators_come_first_and_are_given_an_unlike_row():
    seen = []

    def file_wrongly(given, output, other, rng):
        seen.append((output["category"], other["category"]))
        return {**output, "category": "other"}

    made = seeds_of(TICKET_ROWS[:5], TRIAGE, [file_wrongly])
    assert made[0].how == "own: file_wrongly"
    assert len({seed.how for seed in made}) > 1
    assert all(one != other for one, other in seen)


@pytest.mark.parametrize("answer", [None, "same", "more", "less"])
def test_what_an_own_mutator_does_not_make_is_made_another_way(answer):
    def mutate(given, output, other, rng):
        outputs = {"same": dict(output), "more": {**output, "mark": 1}, "less": {"category": "other"}}
        return outputs.get(answer)

    made = seeds_of(TICKET_ROWS, TRIAGE, [mutate])
    assert len(made) == len(TICKET_ROWS)
    assert "own: mutate" not in {seed.how for seed in made}


def test_without_bases_there_are_no_seeds():
    assert seeds_of([], bases=[]) == []
    assert seeds_of(TICKET_ROWS, bases=[]) == []
