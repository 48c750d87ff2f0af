import dataclasses
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overnight.checks import Checks, check_batch
from overnight.failures import OvernightError, PartRefused
from overnight.parts import read_part, write_part
from overnight.records import BatchVerdict, CompletedBatch, RowFailure


class FakeValidator:
    """Gives the verdict it was made with, and keeps the rows that it was asked about."""

    def __init__(self, *failures, docs=None, batch_failures=(), warnings=(), row_warnings=()):
        self.verdict = BatchVerdict(
            tuple(failures), tuple(batch_failures), tuple(warnings), tuple(row_warnings), n_rules=1, docs=docs
        )
        self.rows = None

    def validate(self, rows, *, checks, suite_name, docs_dir):  # noqa: ARG002 - the signature of BatchValidator's
        self.rows = rows
        return self.verdict


def row(number, state="accepted"):
    return {
        "row_id": f"id-{number}",
        "row_number": number,
        "input": json.dumps({"text": "t"}),
        "state": state,
        "request_key": "k",
        "output": json.dumps({"urgency": "low"}) if state == "accepted" else None,
        "failure_class": "timeout" if state == "quarantined" else None,
    }


def complete(home, states):
    rows = [row(n, state) for n, state in enumerate(states, start=1)]
    n = Counter(states)
    return CompletedBatch(1, write_part(rows, home), "hash", n["accepted"], n["quarantined"], n["pending"])


def check(home, completed, validator):
    table = read_part(completed.part, home)
    docs_dir = home / "docs"
    checks = Checks(batch=({"type": "expect_x", "kwargs": {}},))
    return check_batch(
        completed, table, checks, "c", validator, suite_name="triage", docs_dir=docs_dir, place=home, home=home
    )


def test_only_accepted_rows_are_judged(tmp_path):
    validator = FakeValidator()
    check(tmp_path, complete(tmp_path, ["accepted", "pending", "quarantined"]), validator)
    assert validator.rows == [
        {"row_number": 1, "row_id": "id-1", "input": {"text": "t"}, "output": {"urgency": "low"}},
    ]


def test_a_failing_row_is_set_aside_under_its_first_rule_with_all_reasons(tmp_path):
    completed = complete(tmp_path, ["accepted", "accepted"])
    failures = [RowFailure(2, "first(a)", "a is 1"), RowFailure(2, "second(b)", "b is 2")]
    checked = check(tmp_path, completed, FakeValidator(*failures))
    kept, failed = read_part(checked.part, tmp_path).to_pylist()
    assert kept["state"] == "accepted"
    assert (failed["state"], failed["failure_class"]) == ("quarantined", "batch_rule")
    assert (failed["rule"], failed["reason"]) == ("first(a)", "a is 1; b is 2")
    assert failed["output"] == '{"urgency": "low"}'
    assert (checked.n_accepted, checked.n_quarantined) == (1, 1)


def test_rows_that_failed_before_keep_their_reason(tmp_path):
    checked = check(tmp_path, complete(tmp_path, ["quarantined", "accepted"]), FakeValidator())
    assert read_part(checked.part, tmp_path).to_pylist()[0]["failure_class"] == "timeout"


def test_the_verdict_on_the_batch_travels_with_it(tmp_path):
    docs = str(tmp_path / "docs" / "validations" / "page.html")
    validator = FakeValidator(batch_failures=["mean"], warnings=["few"], docs=docs)
    checked = check(tmp_path, complete(tmp_path, ["accepted"]), validator)
    assert (checked.batch_failures, checked.warnings) == (("mean",), ("few",))
    assert checked.docs == "docs/validations/page.html"
    assert (checked.prompt_hash, checked.checks_hash, checked.n) == ("hash", "c", 1)


def test_a_row_that_a_rule_warns_of_stays_accepted_and_says_why(tmp_path):
    validator = FakeValidator(row_warnings=[RowFailure(2, "sure(a)", "a is 0.1"), RowFailure(3, "sure(a)", "a is 0.2")])
    checked = check(tmp_path, complete(tmp_path, ["accepted", "accepted", "quarantined"]), validator)
    rows = read_part(checked.part, tmp_path).to_pylist()
    assert [row["state"] for row in rows] == ["accepted", "accepted", "quarantined"]
    assert [(row["rule"], row["reason"]) for row in rows[:2]] == [(None, None), ("sure(a)", "a is 0.1")]
    assert rows[2]["rule"] != "sure(a)"


def quarantine(home, *row_ids, failure_class, rule):
    rows = [row(n, "quarantined") | {"row_id": i, "failure_class": failure_class, "rule": rule} for n, i in row_ids]
    return CompletedBatch(1, write_part(rows, home), "hash", 0, len(rows), 0)


def test_rows_with_one_answer_for_too_many_inputs_hold_the_batch(tmp_path):
    row_ids = list(enumerate(["a", "b\n", "c", "d"], start=1))
    completed = quarantine(tmp_path, *row_ids, failure_class="same_answer", rule="distinct(label)")
    checked = check(tmp_path, completed, FakeValidator(batch_failures=["mean"]))
    assert checked.batch_failures == (
        "mean",
        'distinct(label): 4 rows have an answer that too many other inputs got, such as rows "a", "b\\n", "c"',
    )
    assert checked.n_quarantined == 4


def test_rows_with_another_failure_hold_nothing(tmp_path):
    completed = quarantine(tmp_path, (1, "a"), failure_class="hedge", rule="hedge(label)")
    assert check(tmp_path, completed, FakeValidator()).batch_failures == ()


def test_the_step_travels_with_the_batch(tmp_path):
    completed = dataclasses.replace(complete(tmp_path, ["accepted"]), step=2)
    assert check(tmp_path, completed, FakeValidator()).step == 2


def test_docs_outside_the_home_stay_absolute(tmp_path):
    home = tmp_path / "home"
    checked = check(home, complete(home, ["accepted"]), FakeValidator(docs="/elsewhere/page.html"))
    assert checked.docs == "/elsewhere/page.html"


def test_a_table_with_other_counts_is_refused(tmp_path):
    completed = dataclasses.replace(complete(tmp_path, ["accepted", "pending"]), n_accepted=2, n_pending=0)
    with pytest.raises(PartRefused, match="batch 1 holds"):
        check(tmp_path, completed, FakeValidator())


@pytest.mark.parametrize("number", [2, 99])
def test_a_failure_that_names_no_accepted_row_does_not_balance(tmp_path, number):
    completed = complete(tmp_path, ["accepted", "pending"])
    with pytest.raises(OvernightError, match="does not balance"):
        check(tmp_path, completed, FakeValidator(RowFailure(number, "r", "x")))


@given(data=st.data(), states=st.lists(st.sampled_from(["accepted", "quarantined", "pending"]), max_size=20))
def test_passed_quarantined_and_pending_are_the_input(tmp_path_factory, data, states):
    home = tmp_path_factory.mktemp("home")
    accepted = [n for n, state in enumerate(states, start=1) if state == "accepted"]
    failing = data.draw(st.lists(st.sampled_from(accepted), max_size=30)) if accepted else []
    checked = check(home, complete(home, states), FakeValidator(*(RowFailure(n, "r", "x") for n in failing)))
    rows = read_part(checked.part, home).to_pylist()
    assert checked.n_accepted + checked.n_quarantined + checked.n_pending == len(states) == len(rows)
    assert [r["row_number"] for r in rows] == list(range(1, len(states) + 1))
    assert Counter(r["state"] for r in rows)["accepted"] == checked.n_accepted == len(set(accepted) - set(failing))
