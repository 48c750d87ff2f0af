"""What can go wrong, named for what the caller must do."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overnight.records import Reply


class FailureKind(StrEnum):
    """What the caller does about a failure."""

    #: Send the same request again, after a wait.
    RETRY = "retry"
    #: Leave the row pending for a later pass.
    DEFER = "defer"
    #: Ask again with what was wrong.
    REPAIR = "repair"
    #: Set the row aside under its reason; it is not sent again.
    QUARANTINE = "quarantine"
    #: Stop the run; it can be continued when the cause is gone.
    HALT = "halt"


class FailureClass(StrEnum):
    """The kind of evidence that a row or a call failed with."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    SPEND_LIMIT = "spend_limit"
    OVERLOAD = "overload"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content_filter"
    UNKNOWN_STOP = "unknown_stop"
    EMPTY = "empty"
    MALFORMED = "malformed"
    SCHEMA_INVALID = "schema_invalid"
    CHECK_FAILED = "check_failed"
    WRONG_MODEL = "wrong_model"
    BUDGET = "budget"
    #: Somebody stopped the run.
    STOPPED = "stopped"
    # Found at intake, before any call.
    UNDECODABLE = "undecodable"
    RAGGED_ROW = "ragged_row"
    EMPTY_ID = "empty_id"
    DUPLICATE_ID = "duplicate_id"
    MISSING_VALUE = "missing_value"
    #: The template fails on the row.
    UNRENDERABLE = "unrenderable"
    # Found by the checks on an accepted batch.
    BATCH_RULE = "batch_rule"


_RETRIED = {FailureClass.CONNECT, FailureClass.TIMEOUT, FailureClass.RATE_LIMIT, FailureClass.OVERLOAD}
_HALTING = {
    FailureClass.SPEND_LIMIT,
    FailureClass.AUTH,
    FailureClass.WRONG_MODEL,
    FailureClass.BUDGET,
    FailureClass.STOPPED,
}

#: What is done about each class.
KIND_OF: dict[FailureClass, FailureKind] = {
    c: FailureKind.RETRY if c in _RETRIED else FailureKind.HALT if c in _HALTING else FailureKind.QUARANTINE
    for c in FailureClass
}


class OvernightError(Exception):
    """A foreseeable fault: its message is one line that says what, why, and what to do."""


class InputRefused(OvernightError):
    """The source cannot be read as a dataset for this prompt."""


class PromptRefused(OvernightError):
    """A prompt folder is incomplete or contradicts itself."""


class ModelRefused(OvernightError):
    """The model's name, its key or its file is not usable."""


class LedgerRefused(OvernightError):
    """The ledger is damaged, newer than this code, or cannot be opened."""


class PartRefused(OvernightError):
    """A recorded part is missing or differs from its digest."""


class SuiteRefused(OvernightError):
    """The batch checks do not fit the rows they are to judge."""


class SinkRefused(OvernightError):
    """The sink's address is not one that may be written to."""


class ReviewRefused(OvernightError):
    """The answers to a review are incomplete or do not fit what was shown."""


class ApprovalRefused(OvernightError):
    """The approval does not cover what is about to leave."""


class RunHalted(OvernightError):
    """The run stopped before its end; nothing is lost and it can be continued."""


class CallFailed(OvernightError):
    """
    One call to a model did not give an answer that can be used.

    Args:
        failure_class: What it failed with.
        message: What the provider or the network said, without secrets.
        retry_after_s: How long the provider asks to wait, in seconds.
        is_retried: False where the provider says not to send it again: the row is left for a later pass.
        reply: What came back, where anything did.
    """

    def __init__(
        self,
        failure_class: FailureClass,
        message: str,
        *,
        retry_after_s: float | None = None,
        is_retried: bool = True,
        reply: Reply | None = None,
    ) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.retry_after_s = retry_after_s
        self.is_retried = is_retried
        self.reply = reply

    @property
    def kind(self) -> FailureKind:
        """What the caller does about it."""
        return KIND_OF[self.failure_class]
