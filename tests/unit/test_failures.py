from __future__ import annotations

from overnight.failures import CallFailed, OvernightError
from overnight.taxonomy import TREATMENTS, FailureClass


def test_a_failed_call_says_what_the_caller_does() -> None:
    kinds = {c: CallFailed(c, "why").kind for c in FailureClass}
    assert kinds == {c: TREATMENTS[c].kind for c in FailureClass}


def test_a_failed_call_is_a_foreseeable_fault_with_its_evidence() -> None:
    failure = CallFailed(FailureClass.RATE_LIMIT, "wait", retry_after_s=2.0)
    assert isinstance(failure, OvernightError)
    assert (str(failure), failure.retry_after_s, failure.reply) == ("wait", 2.0, None)
    assert failure.is_retried
