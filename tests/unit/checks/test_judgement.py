import math

import pytest

from overnight.checks.judgement import Outcome, find_fault, flatten_row, judge
from overnight.failures import SuiteRefused

RAISED = {"raised_exception": True, "exception_message": "no such\ncolumn", "exception_traceback": "…"}
CALM = {"raised_exception": False, "exception_message": None, "exception_traceback": None}


def test_a_fault_is_found_in_the_flat_shape():
    assert find_fault(RAISED) == "no such column"
    assert find_fault(CALM) is None


def test_a_fault_is_found_in_the_shape_keyed_by_metric():
    assert find_fault({"('m', 1)": CALM, "('m', 2)": RAISED}) == "no such column"
    assert find_fault({"('m', 1)": CALM}) is None
    assert find_fault({}) is None


def test_a_rule_that_raised_refuses_even_if_it_would_only_warn():
    rule = {"type": "expect_x", "kwargs": {"column": "a"}, "severity": "info"}
    with pytest.raises(SuiteRefused, match=r"expect_x\(a\) could not be judged: gone\."):
        judge([Outcome(rule, success=False, result={}, fault="gone.")], [])


def test_a_failing_critical_rule_that_names_no_row_is_never_silent():
    rule = {"type": "expect_x", "kwargs": {"column": "a"}}
    verdict = judge([Outcome(rule, success=False, result={"unexpected_index_list": []}, fault=None)], [])
    assert verdict.batch_failures == ("expect_x(a): not met",)


def test_observed_nan_is_told_as_null():
    rule = {"type": "expect_x", "kwargs": {"column": "a"}}
    verdict = judge([Outcome(rule, success=False, result={"observed_value": math.nan}, fault=None)], [])
    assert verdict.batch_failures == ("expect_x(a): observed null",)


def test_long_values_are_cut():
    rule = {"type": "expect_x", "kwargs": {"column": "a"}}
    outcome = Outcome(rule, success=False, result={"unexpected_index_list": [{"row_number": 1}]}, fault=None)
    (failure,) = judge([outcome], [{"row_number": 1, "a": "x" * 500}]).row_failures
    assert len(failure.reason) < 100
    assert failure.reason.endswith("…")


def test_a_row_is_flat_with_inputs_under_their_own_prefix():
    row = {"row_number": 1, "row_id": "a", "input": {"text": "t"}, "output": {"text": {"b": 1, "a": [2]}}}
    assert flatten_row(row) == {"row_number": 1, "row_id": "a", "input.text": "t", "text": '{"a": [2], "b": 1}'}


@pytest.mark.parametrize("name", ["row_id", "row_number", "input.text"])
def test_an_output_that_would_hide_a_column_of_the_row_is_refused(name):
    with pytest.raises(SuiteRefused, match=f"Output field {name}"):
        flatten_row({"row_number": 1, "row_id": "a", "input": {"text": "t"}, "output": {name: 1}})
