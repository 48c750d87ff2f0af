"""The child process: started, asked, lost and ended."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from overnight.checks import BatchValidator, Checks
from overnight.failures import OvernightError

IN_SET = "expect_column_values_to_be_in_set"
ROOT = Path(__file__).parents[3]


def checks_allowing(*values):
    return Checks(batch=({"type": IN_SET, "kwargs": {"column": "urgency", "value_set": list(values)}},))


def rows_of(*values):
    return [
        {"row_number": n, "row_id": str(n), "input": {}, "output": {"urgency": value}}
        for n, value in enumerate(values, start=1)
    ]


@pytest.fixture
def own():
    validator = BatchValidator()
    yield validator
    validator.close()


def validate(validator, docs_dir, *, allowed=("low",), rows=("low", "soon"), suite_name="triage"):
    checks = checks_allowing(*allowed)
    return validator.validate(rows_of(*rows), checks=checks, suite_name=suite_name, docs_dir=docs_dir)


def test_no_rows_give_an_empty_verdict_without_a_process(own, tmp_path):
    verdict = validate(own, tmp_path, rows=())
    assert (verdict.row_failures, verdict.batch_failures, verdict.n_rules, verdict.docs) == ((), (), 0, None)
    assert own.pid is None


def test_no_rules_give_an_empty_verdict_without_a_process(own, tmp_path):
    verdict = own.validate(rows_of("low"), checks=Checks(), suite_name="triage", docs_dir=tmp_path)
    assert verdict.n_rules == 0
    assert own.pid is None


def test_threads_with_different_suites_get_their_own_verdicts(validator, tmp_path):
    def judge(n):
        allowed = "low" if n % 2 else "soon"
        verdict = validate(validator, tmp_path, allowed=(allowed,), suite_name=f"suite-{n}")
        return [f.row_number for f in verdict.row_failures], verdict.docs

    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(judge, range(8)))
    assert [failing for failing, _ in verdicts] == [[2] if n % 2 else [1] for n in range(8)]
    assert all(f"suite-{n}" in docs for n, (_, docs) in enumerate(verdicts))


def test_a_lost_child_is_told_on_one_line_and_the_next_call_works(own, tmp_path):
    own.start()
    os.kill(own.pid, signal.SIGKILL)
    with pytest.raises(OvernightError, match="batch of triage ended before its verdict") as lost:
        validate(own, tmp_path)
    assert "\n" not in str(lost.value)
    assert [f.row_number for f in validate(own, tmp_path).row_failures] == [2]


def test_what_a_lost_child_wrote_last_is_told(own, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with pytest.raises(OvernightError, match="Fatal Python error"):
        validate(own, tmp_path)


def test_an_interrupted_request_leaves_no_reply_for_the_next(own, tmp_path, monkeypatch):
    def interrupt(child, request):
        raise KeyboardInterrupt

    monkeypatch.setattr("overnight.checks.validator._send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        validate(own, tmp_path)
    assert own.pid is None


def test_closing_leaves_nothing_running_even_in_mid_import(own):
    own.start()
    pid = own.pid
    own.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    own.close()


def test_starting_twice_starts_one_child(own):
    own.start()
    pid = own.pid
    own.start()
    assert own.pid == pid


def test_the_child_prints_replies_alone_and_ends_with_its_input(tmp_path):
    rules = checks_allowing("low").batch
    request = {"rows": rows_of("soon"), "rules": rules, "suite_name": "triage", "docs_dir": str(tmp_path)}
    child = subprocess.run(
        [sys.executable, "-m", "overnight.checks.worker"],
        input=json.dumps(request).encode() + b"\n",
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    (line,) = child.stdout.splitlines()
    assert json.loads(line)["verdict"]["row_failures"][0]["row_number"] == 1


def test_the_parent_never_imports_great_expectations():
    code = "import sys, overnight.checks; sys.exit('great_expectations' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
