from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate

import pytest

from overnight.checks import DriftRule
from overnight.report.change import Change
from overnight.report.drift import compare_profiles
from overnight.report.profile import RARE, Counts, Lengths, Profile, Rate, Spread
from overnight.report.uncompared import tell_uncompared

LABELS = [f"label_{n}" for n in range(77)]
#: As traffic is: few labels are common, many are rare.
WEIGHTS = list(accumulate(1 / (n + 3) for n in range(77)))


class Population:
    """Rows as a night has them, drawn anew each time."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - a test's dice

    def draw(self, n: int) -> list[dict[str, object]]:
        return [self._draw_row() for _ in range(n)]

    def _draw_row(self) -> dict[str, object]:
        dice = self.dice
        return {
            "label": dice.choices(LABELS, cum_weights=WEIGHTS)[0],
            "channel": dice.choice(["app", "web", "mail", "phone"]),
            "language": dice.choices(["en", "de", "fr"], [90, 7, 3])[0],
            "given": max(10, round(dice.lognormvariate(4, 0.5))),
            "answer": max(10, round(dice.gauss(80, 20))),
            "refused": dice.random() < 0.02,
            "hedged": dice.random() < 0.01,
        }


def profile(rows: list[dict[str, object]]) -> Profile:
    def count(name: str) -> Counts:
        return Counts(len(rows), dict(Counter(str(row[name]) for row in rows)))

    def measure(name: str) -> Lengths:
        sample = sorted(row[name] for row in rows)  # type: ignore[type-var]
        return Lengths(len(rows), {}, sample, sum(sample) / len(sample))  # type: ignore[arg-type]

    def rate(name: str) -> Rate:
        return Rate(sum(bool(row[name]) for row in rows), len(rows))

    return Profile(
        counts={
            "output.intent": count("label"),
            "input.channel": count("channel"),
            "input.query.language": count("language"),
        },
        lengths={"input.query.length": measure("given"), "answer.length": measure("answer")},
        rates={"rate.refusals": rate("refused"), "rate.hedges": rate("hedged"), "rate.quarantined": rate("refused")},
    )


def compare(before: list[dict[str, object]], after: list[dict[str, object]], *rules: DriftRule) -> list[Change]:
    return compare_profiles(profile(before), profile(after), rules)


def test_halves_of_one_population_hardly_ever_differ() -> None:
    population, dice, n_raised = Population(0).draw(3200), random.Random(0), 0  # noqa: S311 - a test's dice
    for _ in range(200):
        n = dice.randint(200, 800)
        rows = dice.sample(population, 2 * n)
        n_raised += bool(compare(rows[:n], rows[n:]))
    assert n_raised < 2


@pytest.fixture
def night() -> list[dict[str, object]]:
    return Population(1).draw(700)


@pytest.fixture
def next_night() -> list[dict[str, object]]:
    return Population(2).draw(700)


def test_a_label_that_is_swallowed_is_named_with_the_one_that_rose(night, next_night) -> None:
    for row in next_night:
        row["label"] = "label_1" if row["label"] == "label_3" else row["label"]
    [change] = [c for c in compare(night, next_night) if c.measure == "share"]
    assert (change.what, change.of, change.instead, change.severity) == (
        "output.intent",
        "label_3",
        "label_1",
        "warning",
    )
    assert change.words.startswith("output.intent: label_3 ")
    assert "→ 0 %; perhaps swallowed: label_1 rose " in change.words


def test_longer_answers_are_found(night, next_night) -> None:
    for row in next_night:
        row["answer"] += 40
    [change] = compare(night, next_night)
    assert (change.what, change.measure, change.value > 0.5) == ("answer.length", "ks", True)
    assert "median 8" in change.words


def test_refusals_are_found_with_both_rates(night, next_night) -> None:
    for at, row in enumerate(next_night):
        row["refused"] |= at % 14 == 0
    assert [c.what for c in compare(night, next_night)] == ["rate.quarantined", "rate.refusals"]
    [change] = [c for c in compare(night, next_night) if c.what == "rate.refusals"]
    assert (change.measure, change.n_before, change.n_after, 5 < change.value < 10) == ("rate", 700, 700, True)


def test_another_language_and_a_category_that_is_gone_are_found(night, next_night) -> None:
    for at, row in enumerate(next_night):
        row["language"] = "es" if at % 3 == 0 else row["language"]
        row["channel"] = "app" if row["channel"] == "phone" else row["channel"]
    found = {(c.what, c.of): c for c in compare(night, next_night)}
    assert {w for w, _ in found} == {"input.query.language", "input.channel"}
    assert found["input.query.language", "en"].words.endswith("; in its place es rose 0 % → 33.4 %")
    assert found["input.channel", "phone"].instead == "app"
    assert found["input.channel", None].measure == "psi"


def test_a_few_rows_raise_nothing_even_where_they_differ(night, next_night) -> None:
    for row in next_night:
        row["refused"] = True
    assert compare(night[:19], next_night[:19]) == []


def test_what_is_clear_but_small_raises_nothing() -> None:
    before, after = (Profile(rates={"rate.hedges": Rate(n, 1_000_000)}) for n in (10_000, 12_000))
    assert compare_profiles(before, after) == []
    [change] = compare_profiles(before, after, [DriftRule("rate.*", points=0.1)])
    assert (change.value, change.limit, change.severity) == (0.2, 0.1, "hold")


def test_a_declared_limit_decides_and_the_first_that_names_a_thing(night, next_night) -> None:
    for row in next_night:
        row["answer"] += 40
    assert compare(night, next_night, DriftRule("answer.*", ks=0.99)) == []
    assert compare(night, next_night, DriftRule("answer.length", severity="ignore"), DriftRule("*")) == []
    [change] = compare(night, next_night, DriftRule("*.length", severity="hold"))
    assert (change.severity, change.limit) == ("hold", 0.15)


def test_a_class_of_failure_that_nothing_failed_with_before_is_compared_with_none() -> None:
    before = Profile(rates={"rate.refusals": Rate(0, 500), "rate.quarantined": Rate(0, 520)})
    after = Profile(
        rates=before.rates | {"rate.failed.malformed": Rate(50, 500), "rate.quarantined.hedge": Rate(40, 520)}
    )
    found = {c.what: c.n_before for c in compare_profiles(before, after)}
    assert found == {"rate.failed.malformed": 500, "rate.quarantined.hedge": 520}


def test_a_thing_that_one_run_does_not_have_is_not_compared(night) -> None:
    assert compare_profiles(Profile(), profile(night)) == []
    assert compare_profiles(profile(night), Profile()) == []


def test_where_values_were_kept_without_numbers_those_without_a_name_on_either_side_are_one() -> None:
    old = Profile(counts={"input.channel": Counts(400, {"app": 300, "web": 20, RARE: 80})})
    new = Profile(counts={"input.channel": Counts(400, {"app": 300, "mail": 20}, {"0a1": 40, "0a2": 40})})
    assert compare_profiles(old, new) == []
    assert compare_profiles(new, old) == []


CATEGORY = Profile(counts={"input.channel": Counts(1000, {"app": 500, "web": 490}, {"0a1": 10})})


def test_a_column_that_is_no_category_any_more_is_found_under_its_own_limit() -> None:
    after = Profile(spreads={"input.channel": Spread(600, 600, 0)})
    [change] = compare_profiles(CATEGORY, after, [DriftRule("input.channel", psi=0.1)])
    assert (change.what, change.measure, change.severity, change.value) == ("input.channel", "gone", "hold", 99.5)
    assert change.words == "input.channel: no category any more, 3 different values in 1,000 rows → 600 in 600"
    assert compare_profiles(CATEGORY, after, [DriftRule("input.channel", severity="ignore")]) == []


def test_a_column_whose_values_became_long_is_no_category_any_more() -> None:
    [change] = compare_profiles(CATEGORY, Profile(spreads={"input.channel": Spread(600, 2, 300)}))
    assert change.severity == "warning"
    assert change.words.endswith(" → 2 in 600, 300 with more than 40 characters")


def test_a_column_at_the_edge_of_a_category_is_not_said_to_be_none() -> None:
    shared = {f"value {at}": 5 for at in range(60)}
    before = Profile(counts={"input.shop": Counts(420, shared, {f"{at:03x}": 1 for at in range(120)})})
    assert compare_profiles(before, Profile(spreads={"input.shop": Spread(420, 190, 0)})) == []


def test_a_column_a_label_or_a_text_that_is_missing_is_found() -> None:
    text = Lengths(700, {}, [9] * 700, 9.0)
    before = Profile(
        counts=CATEGORY.counts | {"output.intent": Counts(700, {"a": 700})},
        lengths={"output.reason.length": text, "answer.length": text},
    )
    after = Profile(counts={"input.other": Counts(500, {"x": 500})}, lengths={"answer.length": text})
    found = {c.what: (c.measure, c.severity, c.words) for c in compare_profiles(before, after, [DriftRule("input.*")])}
    assert found == {
        "input.channel": ("gone", "hold", "input.channel: missing, in 1,000 of 1,000 rows → in none of 500"),
        "output.intent": ("gone", "warning", "output.intent: missing, in 700 of 700 rows → in none of 700"),
        "output.reason.length": (
            "gone",
            "warning",
            "output.reason.length: missing, in 700 of 700 rows → in none of 700",
        ),
    }


def test_a_language_that_few_texts_had_is_not_missing_where_few_texts_are_left() -> None:
    text = Lengths(1000, {}, [9] * 1000, 9.0)
    before = Profile(counts={"input.body.language": Counts(25, {"en": 25})}, lengths={"input.body.length": text})
    after = Profile(lengths={"input.body.length": Lengths(40, {}, [9] * 40, 9.0)})
    assert compare_profiles(before, after) == []


def test_a_declared_limit_that_nothing_was_held_against_is_told_with_the_reason() -> None:
    few = Profile(counts={"output.intent": Counts(15, {"a": 15})}, rates={"rate.quarantined": Rate(0, 15)})
    many = Profile(counts={"output.intent": Counts(900, {"b": 900})}, rates={"rate.quarantined": Rate(9, 900)})
    assert tell_uncompared(few, many, []) == "nothing could be compared: fewer than 20 rows in one of them"
    some = Profile(counts=few.counts, rates={"rate.quarantined": Rate(85, 100)})
    assert tell_uncompared(some, many, [DriftRule("output.*"), DriftRule("input.body", psi=0.1)]) == (
        "not compared: output.intent (fewer than 20 rows in one of them);"
        " input.body (not measured, or no category, in one of them)"
    )
    assert tell_uncompared(some, many, [DriftRule("output.intent", severity="ignore")]) is None
    assert tell_uncompared(some, many, []) is None


def test_where_all_is_compared_nothing_is_left_out(night, next_night) -> None:
    assert tell_uncompared(profile(night), profile(next_night), [DriftRule("*")]) is None
