"""What can go wrong, named for what the caller must do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from overnight.taxonomy import TREATMENTS, FailureClass, FailureKind

if TYPE_CHECKING:
    from overnight.records import Reply


class OvernightError(Exception):
    """A foreseeable fault: its message is one line that says what, why, and what to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker on another machine hands it back: by its own constructor an error of several values is not made anew.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[OvernightError], args: tuple[Any, ...], values: dict[str, Any]) -> OvernightError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(values)
    return error


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


class PartMissing(PartRefused):
    """A recorded part is not there: it was lost, or purged."""


class PartPurged(PartRefused):
    """A purge dropped the rows of the run."""


class PlaceUnreachable(OvernightError):
    """The store of parts does not answer, or refuses: whether a part is there is not known, and none counts as lost."""


class SuiteRefused(OvernightError):
    """The batch checks do not fit the rows they are to judge."""


class SinkRefused(OvernightError):
    """The sink's address is not one that may be written to."""


class ReviewRefused(OvernightError):
    """The answers to a review are incomplete or do not fit what was shown."""


class ApprovalRefused(OvernightError):
    """The approval does not cover what is about to leave."""


class DeliveryHeld(OvernightError):
    """A person has stopped all writing to the sink."""


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
        complaint: What is wrong with an answer, in words for the model and without words of the row.
    """

    def __init__(
        self,
        failure_class: FailureClass,
        message: str,
        *,
        retry_after_s: float | None = None,
        is_retried: bool = True,
        reply: Reply | None = None,
        complaint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.retry_after_s = retry_after_s
        self.is_retried = is_retried
        self.reply = reply
        self.complaint = complaint
        #: Set by whoever decides it: the row is asked again.
        self.goes_on = False

    @property
    def kind(self) -> FailureKind:
        """What the caller does about it."""
        return TREATMENTS[self.failure_class].kind
