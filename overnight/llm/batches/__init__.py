"""Provider batches behind one protocol: send, look at, find again, stop, and read what came of each request."""

from overnight.llm.batches.client import (
    BatchClient,
    BatchItem,
    Found,
    Limits,
    SubmitUnknown,
    find_limits,
    make_batch_client,
    name_item,
    read_result,
)

__all__ = [
    "BatchClient",
    "BatchItem",
    "Found",
    "Limits",
    "SubmitUnknown",
    "find_limits",
    "make_batch_client",
    "name_item",
    "read_result",
]
