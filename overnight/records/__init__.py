"""The values that travel between the rooms: frozen, and without behaviour."""

from overnight.records.calls import Ask, Correction, Reply, Usage
from overnight.records.delivery import OwnSink, Payload, Receipt, SinkFacts
from overnight.records.provider_batches import (
    BatchLook,
    BatchState,
    ItemKind,
    ItemResult,
    Mode,
    ProviderBatch,
    is_time_of_day,
)
from overnight.records.review import Answered, Approval, Release, ReviewItem, ReviewPolicy
from overnight.records.work import (
    Batch,
    BatchVerdict,
    CheckedBatch,
    CompletedBatch,
    InboxState,
    ModelTerms,
    Part,
    Prompt,
    RowFailure,
    RowState,
    RunState,
    Summary,
)

__all__ = [
    "Answered",
    "Approval",
    "Ask",
    "Batch",
    "BatchLook",
    "BatchState",
    "BatchVerdict",
    "CheckedBatch",
    "CompletedBatch",
    "Correction",
    "InboxState",
    "ItemKind",
    "ItemResult",
    "Mode",
    "ModelTerms",
    "OwnSink",
    "Part",
    "Payload",
    "Prompt",
    "ProviderBatch",
    "Receipt",
    "Release",
    "Reply",
    "ReviewItem",
    "ReviewPolicy",
    "RowFailure",
    "RowState",
    "RunState",
    "SinkFacts",
    "Summary",
    "Usage",
    "is_time_of_day",
]
