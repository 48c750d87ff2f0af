"""Provider batches behind one protocol: send, look at, find again, stop, and read what came of each request."""

from overnight.llm.batches.client import MAX_BYTES_BESIDE, find_limits, make_batch_client
from overnight.llm.batches.protocol import BatchClient, BatchItem, Found, Limits, SubmitUnknown, name_item
from overnight.llm.batches.results import read_result

__all__ = [
    "MAX_BYTES_BESIDE",
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
