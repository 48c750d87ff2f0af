from __future__ import annotations

from typing import Any

import orjson
import pytest

from overnight.checks.judgement import Outcome
from overnight.records import CheckedBatch, Part
from overnight.report.why.checked import judge_again
from overnight.report.why.words import tell_age, tell_time

_DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("age_s", "words"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (6 * _DAY_S, "6 days ago"),
        (42 * _DAY_S, "6 weeks ago"),
        (62 * _DAY_S, "8 weeks ago"),
        (70 * _DAY_S, "2 months ago"),
        (800 * _DAY_S, "2 years ago"),
        (-5, "in the future by this clock"),
    ],
)
def test_an_age_is_told_in_the_one_unit_that_fits(age_s: float, words: str) -> None:
    assert tell_age(age_s) == words


def test_a_moment_is_told_with_its_age_where_there_is_a_clock() -> None:
    assert tell_time(0.0, None) == "1970-01-01 00:00:00 UTC"
    assert tell_time(0.0, 3600.0) == "1970-01-01 00:00:00 UTC, 1 hour ago"


@pytest.mark.parametrize(
    "kwargs",
    [{"column": "a", "min_value": 1}, {"column_A": "a", "column_B": "b"}, {"column_list": ["a", "b"]}, {"value": 3}],
)
def test_a_rule_is_called_what_the_check_step_calls_it(kwargs: dict[str, Any]) -> None:
    rule = {"type": "expect_this", "kwargs": kwargs}
    row = {"state": "accepted", "rule": None, "failure_class": None, "reason": None}
    [told] = judge_again(row, None, _write({"row": [], "batch": [rule]}))["batch"]
    assert told["check"] == Outcome(rule, success=True, result={}, fault=None).label


@pytest.mark.parametrize(
    ("row", "line", "result"),
    [
        ({}, None, "passed"),
        ({"rule": "expect(a)", "reason": "odd"}, None, "warned"),
        ({"rule": "expect(a)", "failure_class": "batch_rule", "state": "quarantined", "reason": "bad"}, None, "failed"),
        ({}, "expect(a): 3 % are odd", "failed"),
        ({"failure_class": "refusal", "state": "quarantined", "reason": "no"}, None, "not reached"),
        ({"state": "pending"}, None, "not reached"),
    ],
)
def test_a_rule_of_the_batch_is_told_for_the_row(row: dict[str, Any], line: str | None, result: str) -> None:
    whole = {"state": "accepted", "rule": None, "failure_class": None, "reason": None} | row
    batch = CheckedBatch(1, Part("p", "d", 1), "h", "c", 1, 0, 0, batch_failures=(line,) if line else ())
    severity = "warning" if result == "warned" else "critical"
    checks = _write({"row": [], "batch": [{"type": "expect", "kwargs": {"column": "a"}, "severity": severity}]})
    assert [one["result"] for one in judge_again(whole, batch, checks)["batch"]] == [result]


def _write(checks: dict[str, Any]) -> str:
    return orjson.dumps(checks).decode()
