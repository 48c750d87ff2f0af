"""Rules of a batch that have one name, as the sample prompt has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight.checks.judgement import Outcome, judge
from overnight.records import CheckedBatch, Part
from overnight.report.why.checked import judge_again
from overnight.report.why.outline import make_outline

_SAMPLE = Path(__file__).parents[3] / "prompts" / "triage_ticket" / "checks.json"
_IN_SET = "expect_column_values_to_be_in_set"
#: Numbers of the sample's rules over urgency: one that sets rows aside, one that only warns.
_CRITICAL, _WARNING = 3, 6
_OUTPUT = {"category": "bug", "urgency": "high", "summary": "It broke.", "reply": "We look at what broke for you."}


def _judge(rules: list[dict[str, Any]], unexpected: list[int], *, n_rows: int = 2, **output: Any) -> dict[str, Any]:
    """What is told of row 1 where these rules, by their numbers, find it unexpected, and the batch too."""
    flat = [{"row_number": n, "row_id": f"r{n}"} | _OUTPUT | output for n in range(1, n_rows + 1)]
    found = {"element_count": n_rows, "unexpected_count": n_rows, "unexpected_index_list": [{"row_number": 1}]}
    outcomes = [
        Outcome(rule, success=n not in unexpected, result=found if n in unexpected else {}, fault=None)
        for n, rule in enumerate(rules, 1)
    ]
    verdict = judge(outcomes, flat)
    failed, warned = ([f for f in some if f.row_number == 1] for some in (verdict.row_failures, verdict.row_warnings))
    said = failed or warned
    row = {
        "state": "quarantined" if failed else "accepted",
        "failure_class": "batch_rule" if failed else None,
        "rule": said[0].rule if said else None,
        "reason": "; ".join(f.reason for f in said) if said else None,
        "output": orjson.dumps(_OUTPUT | output).decode(),
        "input": "{}",
    }
    batch = CheckedBatch(
        1, Part("p", "d", 1), "h", "c", 1, 0, 0, batch_failures=verdict.batch_failures, warnings=verdict.warnings
    )
    told = judge_again(row, batch, orjson.dumps({"row": [], "batch": rules}).decode())
    return row | {"row_id": "r1", "run_id": "n", "step": 1, "input": {}, "releases": [], "checks": told}


def _sample() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = orjson.loads(_SAMPLE.read_bytes())["batch"]
    for number in (_CRITICAL, _WARNING):
        assert (rules[number - 1]["type"], rules[number - 1]["kwargs"]["column"]) == (_IN_SET, "urgency")
    return rules


def _results(told: dict[str, Any]) -> list[str]:
    return [one["result"] for one in told["checks"]["batch"]]


def test_of_two_rules_of_one_name_the_one_that_warned_is_told_to_have_warned() -> None:
    told = _judge(_sample(), [_WARNING])
    assert _results(told) == ["passed"] * 5 + ["warned"] + ["passed"] * 2
    lines = "\n".join(line for node in make_outline(told).walk() for line in node.lines)
    assert f"{_IN_SET}(urgency), number 3 of checks.json: passed" in lines
    assert f"{_IN_SET}(urgency), number 6 of checks.json: warned: Where most tickets are urgent, none is." in lines
    assert f"{_IN_SET}(category): passed" in lines


def test_of_a_row_that_a_rule_set_aside_it_is_not_known_what_was_only_warned() -> None:
    told = _judge(_sample(), [_CRITICAL], urgency="at once")
    results = _results(told)
    assert results[_CRITICAL - 1] == "failed"
    # The two that let a share of the rows be otherwise; the last one speaks of the whole batch alone.
    assert results[_WARNING - 1 : _WARNING + 1] == ["not known", "not known"]
    assert (results.count("passed"), results[-1]) == (5, "passed")


def test_every_rule_that_set_a_row_aside_is_told() -> None:
    told = _judge(_sample(), [2, _CRITICAL], category="none", urgency="at once")
    results = _results(told)
    assert (results[1], results[_CRITICAL - 1], results[0]) == ("failed", "failed", "passed")


def test_words_of_the_row_itself_are_not_taken_for_those_of_a_rule() -> None:
    said = "no; The urgency decides the order of the queue. (urgency is not set)"
    assert _results(_judge(_sample(), [2], category=said))[1:3] == ["failed", "not known"]


@pytest.mark.parametrize(("severity", "result"), [("critical", "failed"), ("warning", "warned")])
def test_a_rule_that_spoke_of_the_whole_batch_is_told_apart_by_what_it_is_for(severity: str, result: str) -> None:
    rules = [
        {"type": _IN_SET, "kwargs": {"column": "urgency", "mostly": 0.5}, "severity": severity, "meta": {"reason": why}}
        for why in ("Most are so.", "Some are so.")
    ]
    assert _results(_judge(rules, [2], n_rows=1))[0] == "passed"
    assert _results(_judge(rules, [2], n_rows=1))[1] == result
    assert _results(_judge(rules, [1, 2])) == [result, result]


@pytest.mark.parametrize("rule", [{"severity": "warning"}, {}, {"kwargs": {"column": "urgency", "mostly": 0.5}}])
def test_rules_that_nothing_tells_apart_are_told_as_one_of_them(rule: dict[str, Any]) -> None:
    rules = [{"type": _IN_SET, "kwargs": {"column": "urgency"}} | rule] * 2
    told = _judge(rules, [2])["checks"]["batch"]
    assert [one["result"] for one in told] == ["not known", "not known"]
    assert all(one["reason"].startswith("one of 2 rules of this name") for one in told)


def test_of_an_answer_whose_part_is_gone_no_rule_is_told_to_have_passed_or_not_to_have_been_reached() -> None:
    row = {"state": "accepted", "rule": None, "failure_class": None, "reason": None}
    told = judge_again(row, None, _SAMPLE.read_text())
    assert {one["result"] for one in told["batch"]} == {"not known"}
