from __future__ import annotations

import pytest

from overnight.failures import KIND_OF, CallFailed, FailureClass, FailureKind, OvernightError

RETRIED = {FailureClass.CONNECT, FailureClass.TIMEOUT, FailureClass.RATE_LIMIT, FailureClass.OVERLOAD}
HALTING = {
    FailureClass.AUTH,
    FailureClass.SPEND_LIMIT,
    FailureClass.WRONG_MODEL,
    FailureClass.BUDGET,
    FailureClass.STOPPED,
}


@pytest.mark.parametrize("failure_class", FailureClass)
def test_each_class_says_what_the_caller_does(failure_class: FailureClass) -> None:
    expected = (
        FailureKind.RETRY
        if failure_class in RETRIED
        else FailureKind.HALT
        if failure_class in HALTING
        else FailureKind.QUARANTINE
    )
    assert KIND_OF[failure_class] is expected
    assert CallFailed(failure_class, "why").kind is expected


def test_a_failed_call_is_a_foreseeable_fault_with_its_evidence() -> None:
    failure = CallFailed(FailureClass.RATE_LIMIT, "wait", retry_after_s=2.0)
    assert isinstance(failure, OvernightError)
    assert (str(failure), failure.retry_after_s, failure.reply) == ("wait", 2.0, None)
    assert failure.is_retried


def test_a_row_that_cannot_be_rendered_is_set_aside_and_a_stop_halts() -> None:
    assert KIND_OF[FailureClass.UNRENDERABLE] is FailureKind.QUARANTINE
    assert KIND_OF[FailureClass.STOPPED] is FailureKind.HALT
