from __future__ import annotations

import pickle

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


def test_an_error_of_several_values_crosses_to_another_process_whole() -> None:
    error = CallFailed(FailureClass.RATE_LIMIT, "Too many requests.", retry_after_s=3.0)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(again), str(again), vars(again)) == (CallFailed, "Too many requests.", vars(error))
