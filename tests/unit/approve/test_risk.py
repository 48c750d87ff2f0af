from __future__ import annotations

from overnight.approve.risk import rank_risk
from overnight.records import Answered

SCHEMA = {
    "properties": {
        "category": {"enum": ["bug", "login", "other", None]},
        "reply": {"type": "string"},
        "confidence": {"type": "number"},
    }
}
REPLY = "We will look into it."


def row(n=0, reply=REPLY, category="bug", **facts):
    output = {"category": category, "reply": reply, "confidence": facts.pop("confidence", 0.9)}
    return Answered(f"r{n}", {"body": f"text {n}"}, output, **facts)


def ranked(*rows):
    return rank_risk(rows, SCHEMA)


def test_plain_rows_carry_no_risk():
    assert ranked(*[row(n) for n in range(200)]) == []
    assert ranked() == []


def test_each_row_comes_once_by_its_gravest_risk():
    usual = [row(n) for n in range(110)]
    found = ranked(
        row(category="login"),
        row(reply="x" * 2000),
        row(was_reasked=True, reply="x" * 2000),
        row(confidence=0.31, was_reasked=True),
        row(confidence=0.02),
        row(warning="too many urgent", confidence=0.1),
        row(is_doubted=True, warning="too many urgent", confidence=0.1, was_reasked=True),
        *usual,
    )
    assert found == [
        (6, "called wrong before"),
        (5, "a check warned: too many urgent"),
        (4, "confidence 0.02"),
        (3, "confidence 0.31"),
        (2, "asked again before it was accepted"),
        (1, "reply is unusually long (2,000 characters, usual are 21)"),
        (0, "category 'login' is rare (1 of 117)"),
    ]


def test_a_confidence_that_is_no_share_of_one_says_nothing():
    assert ranked(*[row(confidence=value) for value in (True, False, "low", None, -1, 31, 0.5)]) == []
    assert ranked(row(confidence=0)) == [(0, "confidence 0")]


def test_the_oddest_length_comes_first():
    usual = [row(n, reply="x" * (100 + n % 40)) for n in range(40)]
    found = ranked(*usual, row(reply="x" * 600), row(reply=""), row(reply="x" * 140))
    assert [index for index, _ in found] == [41, 40]
    assert found[0][1].startswith("reply is unusually short (0 characters")


def test_few_rows_do_not_tell_what_is_usual():
    assert ranked(*[row(n) for n in range(18)], row(reply="x" * 2000)) == []
    assert ranked(*[row(n) for n in range(98)], row(category="login")) == []


def test_where_all_are_equally_long_a_little_longer_is_not_unusual():
    assert ranked(*[row(n) for n in range(50)], row(reply=REPLY + " Yes.")) == []


def test_the_rarest_label_comes_first_and_null_is_none():
    usual = [row(n) for n in range(1000)]
    found = ranked(*usual, row(category="login"), row(category="login"), row(category="other"), row(category=None))
    assert found == [
        (1002, "category 'other' is rare (1 of 1,003)"),
        (1000, "category 'login' is rare (2 of 1,003)"),
        (1001, "category 'login' is rare (2 of 1,003)"),
    ]


def test_an_output_without_the_fields_of_others_is_no_fault():
    assert rank_risk([Answered("a", {}, {}), Answered("b", {}, {"reply": None, "category": ["bug"]})], SCHEMA) == []
    assert rank_risk([Answered("a", {}, {"confidence": 0.1})], {}) == [(0, "confidence 0.1")]


def test_lengths_of_two_usual_kinds_are_not_unusual():
    assert ranked(*[row(n, reply=REPLY if n % 3 else "x" * 2000) for n in range(60)]) == []
