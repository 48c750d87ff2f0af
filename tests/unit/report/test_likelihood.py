from __future__ import annotations

import math
import random

import pytest
from scipy.stats import chi2_contingency, fisher_exact

from overnight.report.likelihood import judge_counts, judge_lengths, judge_shares, measure_psi, pool_rare


def test_values_too_rare_to_compare_are_counted_together() -> None:
    before, after = {"a": 60, "b": 38, "c": 2}, {"a": 30, "b": 15, "d": 5}
    assert pool_rare(before, after) == [(60, 30), (38, 15), (2, 5)]
    assert pool_rare(before, {}) == []


def test_the_index_is_the_known_one_less_what_chance_gives() -> None:
    pairs = [(5000, 4000), (5000, 6000)]
    plain = (0.4 - 0.5) * math.log(0.4 / 0.5) + (0.6 - 0.5) * math.log(0.6 / 0.5)
    assert measure_psi(pairs) == pytest.approx(plain - 2 / 10_000, abs=1e-5)


def test_without_a_change_the_index_is_about_nothing_whatever_the_number_of_labels() -> None:
    dice = random.Random(3)  # noqa: S311 - a test's dice
    found = []
    for _ in range(60):
        counts = [[dice.randrange(40) for _ in range(400)] for _ in range(2)]
        found.append(measure_psi([(counts[0].count(v), counts[1].count(v)) for v in range(40)]))
    assert abs(sum(found) / len(found)) < 0.03


def test_counts_are_judged_by_chi_square() -> None:
    pairs = [(50, 30), (30, 40), (20, 30)]
    assert judge_counts(pairs) == pytest.approx(chi2_contingency([list(pair) for pair in pairs]).pvalue)


def test_shares_are_judged_exactly_and_large_ones_nearly_so() -> None:
    assert judge_shares((0, 700), (35, 700)) == fisher_exact([[0, 700], [35, 665]]).pvalue
    large = judge_shares((100, 10_000), (150, 10_000))
    assert large == pytest.approx(chi2_contingency([[100, 9_900], [150, 9_850]]).pvalue)
    assert judge_shares((0, 9_000), (0, 9_000)) == 1.0


def test_lengths_of_one_kind_pass_and_of_another_do_not() -> None:
    dice = random.Random(4)  # noqa: S311 - a test's dice
    one, same = ([round(dice.gauss(60, 15)) for _ in range(500)] for _ in range(2))
    longer = [round(dice.gauss(90, 15)) for _ in range(500)]
    distance, p = judge_lengths(one, longer)
    assert (distance > 0.5, p < 1e-9) == (True, True)
    assert judge_lengths(one, same)[1] > 0.001
