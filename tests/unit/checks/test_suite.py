"""What batch rules mean for rows and batches, judged by the real child process."""

import re
from pathlib import Path

import pytest

from overnight.failures import SuiteRefused

IN_SET = "expect_column_values_to_be_in_set"
NOT_NULL = "expect_column_values_to_not_be_null"


def rule(name, /, severity="critical", reason=None, **kwargs):
    return {"type": name, "kwargs": kwargs, "severity": severity, "meta": {"reason": reason} if reason else {}}


def urgencies(*values):
    return [{"urgency": value} for value in values]


def test_rows_that_a_rule_names_fail_with_its_reason_and_their_value(judge):
    known = rule(IN_SET, column="urgency", value_set=["low"], reason="urgency must be low")
    verdict = judge(urgencies("low", "soon"), known)
    (failure,) = verdict.row_failures
    assert (failure.row_number, failure.rule) == (2, "expect_column_values_to_be_in_set(urgency)")
    assert failure.reason == 'urgency must be low (urgency is "soon")'
    assert (verdict.batch_failures, verdict.warnings, verdict.n_rules) == ((), (), 1)


def test_a_rule_without_a_reason_tells_the_value_alone(judge):
    verdict = judge(urgencies("soon"), rule(IN_SET, column="urgency", value_set=["low"]))
    assert verdict.row_failures[0].reason == 'urgency is "soon"'


def test_failures_come_in_the_order_of_the_suite(judge):
    rules = [
        rule(NOT_NULL, column="urgency"),
        rule(IN_SET, column="urgency", value_set=["low"]),
        rule("expect_column_value_lengths_to_be_between", column="urgency", max_value=3),
    ]
    failures = judge(urgencies("soon", None), *rules).row_failures
    assert [f.row_number for f in failures] == [2, 1, 1]
    assert "not_be_null" in failures[0].rule
    assert "in_set" in failures[1].rule


def test_rules_over_values_skip_nulls_and_not_null_names_them(judge):
    assert judge(urgencies("low", None), rule(IN_SET, column="urgency", value_set=["low"])).row_failures == ()
    (failure,) = judge(urgencies("low", None), rule(NOT_NULL, column="urgency")).row_failures
    assert (failure.row_number, failure.reason) == (2, "urgency is null")


def test_mostly_that_holds_quarantines_nobody(judge):
    verdict = judge(urgencies("low", "low", "soon"), rule(IN_SET, column="urgency", value_set=["low"], mostly=0.5))
    assert (verdict.row_failures, verdict.batch_failures) == ((), ())


def test_mostly_that_fails_speaks_of_the_batch_with_the_observed_share(judge):
    verdict = judge(urgencies("low", "x", "y", None), rule(IN_SET, column="urgency", value_set=["low"], mostly=0.5))
    assert verdict.row_failures == ()
    (line,) = verdict.batch_failures
    assert line.endswith('2 of 3 values fail, such as "x", "y"; a share of 0.3333 passes, 0.5 is asked')


def test_an_aggregate_that_fails_speaks_of_the_batch_with_the_observed_value(judge):
    mean = rule("expect_column_mean_to_be_between", column="score", min_value=10, reason="scores sank")
    verdict = judge([{"score": 1}, {"score": 3}, {"score": None}], mean)
    assert verdict.batch_failures == ("expect_column_mean_to_be_between(score): scores sank (observed 2.0)",)
    assert verdict.row_failures == ()


def test_a_table_rule_that_fails_has_no_column_in_its_label(judge):
    count = rule("expect_table_row_count_to_be_between", min_value=5)
    assert judge(urgencies("low"), count).batch_failures == ("expect_table_row_count_to_be_between: observed 1",)


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_rule_that_is_not_critical_only_warns(judge, severity):
    rules = [
        rule(IN_SET, severity, column="urgency", value_set=["low"]),
        rule("expect_table_row_count_to_be_between", severity, min_value=5),
    ]
    verdict = judge(urgencies("soon"), *rules)
    assert (verdict.row_failures, verdict.batch_failures) == ((), ())
    assert verdict.warnings == (
        'expect_column_values_to_be_in_set(urgency): 1 of 1 values fail, such as "soon"',
        "expect_table_row_count_to_be_between: observed 1",
    )


def test_a_rule_that_only_warns_names_its_rows_though_enough_others_pass(judge):
    lax = rule(IN_SET, "warning", column="urgency", value_set=["low"], mostly=0.5)
    verdict = judge(urgencies("low", "soon", "low"), lax)
    assert verdict.warnings == ()
    assert [(w.row_number, w.reason) for w in verdict.row_warnings] == [(2, 'urgency is "soon"')]


def test_a_missing_column_is_a_fault_of_the_suite(judge):
    with pytest.raises(SuiteRefused, match=r"expect_column_values_to_be_in_set\(urgncy\).*\"urgncy\".*does not exist"):
        judge(urgencies("low"), rule(IN_SET, column="urgncy", value_set=["low"]))


def test_a_rule_that_raises_is_a_fault_of_the_suite(judge):
    with pytest.raises(SuiteRefused, match=r"expect_column_mean_to_be_between\(urgency\) could not be judged"):
        judge(urgencies("low"), rule("expect_column_mean_to_be_between", column="urgency", min_value=1))


@pytest.mark.parametrize(
    "wrong",
    [
        rule("expect_magic", column="urgency"),
        rule(IN_SET, column="urgency", value_set=["low"], bogus=1),
        rule(IN_SET, value_set=["low"]),
        rule(IN_SET, column="urgency", value_set={"$PARAMETER": "known"}),
    ],
    ids=["unknown type", "unknown argument", "no column", "parameter"],
)
def test_a_wrongly_written_rule_is_refused_on_one_line(judge, wrong):
    with pytest.raises(SuiteRefused, match=r"checks\.json") as refused:
        judge(urgencies("low"), wrong)
    assert "\n" not in str(refused.value)


def test_the_same_rule_twice_is_judged_twice(judge):
    again = rule(IN_SET, column="urgency", value_set=["low"])
    verdict = judge(urgencies("soon"), again, {**again, "severity": "warning"}, again)
    assert (len(verdict.row_failures), len(verdict.warnings)) == (2, 1)


def test_inputs_can_be_compared_with_outputs(judge):
    pair = rule("expect_column_pair_values_to_be_equal", column_A="code", column_B="input.code")
    outputs, inputs = [{"code": "a"}, {"code": "b"}], [{"code": "a"}, {"code": "a"}]
    (failure,) = judge(outputs, pair, inputs=inputs).row_failures
    assert failure.rule == "expect_column_pair_values_to_be_equal(code, input.code)"
    assert failure.reason == 'code is "b", input.code is "a"'


def test_a_null_beside_large_whole_numbers_does_not_blur_them(judge):
    outputs = [{"n": 2**53}, {"n": 2**53 + 1}, {"n": None}]
    rules = [rule("expect_column_values_to_be_unique", column="n"), rule(IN_SET, column="n", value_set=[2**53])]
    (failure,) = judge(outputs, *rules).row_failures
    assert failure.reason == "n is 9007199254740993"


def test_lists_are_judged_as_their_json_text(judge):
    outputs = [{"tags": ["a", "b"]}, {"tags": []}]
    (failure,) = judge(outputs, rule(IN_SET, column="tags", value_set=['["a", "b"]'])).row_failures
    assert failure.row_number == 2


def test_a_column_of_nulls_passes_value_rules_and_fails_aggregates(judge):
    outputs = urgencies(None, None)
    rules = [
        rule("expect_column_values_to_be_between", column="urgency", min_value=1),
        rule("expect_column_mean_to_be_between", column="urgency", min_value=1),
    ]
    verdict = judge(outputs, *rules)
    assert verdict.row_failures == ()
    assert verdict.batch_failures == ("expect_column_mean_to_be_between(urgency): not met",)


def test_each_validation_has_its_page_and_the_index_lists_all_of_them(judge, tmp_path):
    docs_dir = tmp_path / "site"
    wrong = rule(IN_SET, column="urgency", value_set=["low"])
    pages = [
        Path(judge(urgencies("soon"), wrong, suite_name=name, docs_dir=docs_dir).docs) for name in ("one", "two", "one")
    ]
    index = (docs_dir / "index.html").read_text()
    linked = {docs_dir / href for href in re.findall(r'href="([^"]+)"', index)}
    assert linked == set(pages)
    assert len(linked) == 3
    assert all("soon" in page.read_text() for page in pages)


def test_the_index_survives_a_line_that_was_cut_short(judge, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "validations.jsonl").write_text('{"page": "x')
    page = judge(urgencies("low"), rule(NOT_NULL, column="urgency"), docs_dir=tmp_path / "docs").docs
    assert Path(page).relative_to(tmp_path / "docs").as_posix() in (tmp_path / "docs" / "index.html").read_text()


def test_a_suite_name_stays_within_the_site(judge, tmp_path):
    page = judge(urgencies("low"), rule(NOT_NULL, column="urgency"), suite_name="../../up.x").docs
    assert Path(page).is_relative_to(tmp_path / "docs" / "validations")
