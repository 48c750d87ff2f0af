"""What came of a provider batch that has ended, recorded as it is read: all of it, or it is read again later."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson

from overnight.complete.provider.sending import read_items
from overnight.failpoints import reach
from overnight.failures import CallFailed
from overnight.ledger import Ledger
from overnight.ledger.provider_batch_items import record_results
from overnight.ledger.provider_batches import end_batch
from overnight.llm import parse_model
from overnight.llm.batches import BatchClient, read_result
from overnight.records import BatchLook, ItemKind, ItemResult, ProviderBatch
from overnight.taxonomy import FailureClass, FailureKind

#: Results that are recorded in one commit.
_CHUNK = 200
#: After this a provider has given up whatever it had not answered.
_WINDOW_S = 26 * 3600.0


async def record_what_came(batch: ProviderBatch, client: BatchClient, look: BatchLook, ledger: Ledger) -> None:
    """
    Record the results of a batch that has ended; judging them is for the run.

    Raises:
        CallFailed: They cannot be read now, or fewer came than the provider says there are.
    """
    reach("batch-looked")
    results = client.read_results(look) if look.refused is None else _refuse_all(batch, look.refused, ledger)
    chunk: list[ItemResult] = []
    n_results = 0
    async with aclosing(results):
        async for result in results:
            chunk.append(result)
            n_results += 1
            if len(chunk) >= _CHUNK:
                _record(batch, chunk, ledger)
                chunk = []
    _record(batch, chunk, ledger)
    if n_results < look.n_done and not is_over(batch):
        line = f"{n_results:,} of {look.n_done:,} results came. They are read again later."
        raise CallFailed(FailureClass.OVERLOAD, line)
    ledger.write(lambda connection: end_batch(connection, batch.batch_id, time.time()))
    reach("batch-ended")


def is_refused_for_now(batch: ProviderBatch, look: BatchLook) -> bool:
    """Whether the provider refused the batch as a whole, and may take it another time."""
    if look.refused is None:
        return False
    try:
        read_result(parse_model(batch.model), batch.endpoint, _make_refused("", look.refused))
    except CallFailed as failure:
        return failure.kind is FailureKind.RETRY
    return True


def is_over(batch: ProviderBatch) -> bool:
    """Whether its provider has given up by now what it had not answered."""
    return time.time() - (batch.submitted_at or batch.submitting_at or 0.0) > _WINDOW_S


def _record(batch: ProviderBatch, results: list[ItemResult], ledger: Ledger) -> None:
    if results:
        ledger.write(lambda connection: record_results(connection, batch.batch_id, results, time.time()))
        reach("batch-recorded")


async def _refuse_all(
    batch: ProviderBatch, refused: tuple[int, str, str], ledger: Ledger
) -> AsyncGenerator[ItemResult]:
    """The provider took none of it: each request fails with what it said of the whole."""
    for item in read_items(batch, ledger):
        yield _make_refused(item.custom_id, refused)


def _make_refused(custom_id: str, refused: tuple[int, str, str]) -> ItemResult:
    status, code, message = refused
    return ItemResult(custom_id, ItemKind.ANSWERED, status, orjson.dumps({"error": {"code": code, "message": message}}))
