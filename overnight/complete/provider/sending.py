"""Provider batches are sent: recorded before, once each, and what was not received is free again."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from http import HTTPStatus

from overnight.complete.context import RunContext
from overnight.complete.engine import Engine
from overnight.failpoints import reach
from overnight.failures import CallFailed, LedgerRefused, RunHalted
from overnight.ledger import Ledger
from overnight.ledger.leases import Worker
from overnight.ledger.provider_batch_items import list_items
from overnight.ledger.provider_batches import (
    get_provider_batch,
    list_batches,
    mark_submitted,
    mark_submitting,
    record_reason,
    release_batch,
)
from overnight.llm import keep_asking, parse_model
from overnight.llm.batches import BatchClient, BatchItem, SubmitUnknown, make_batch_client, name_item
from overnight.records import BatchLook, BatchState, ProviderBatch
from overnight.settings import Settings
from overnight.taxonomy import MAX_ATTEMPTS, FailureClass, FailureKind

#: Requests that are read from the ledger at once.
_PAGE = 200

#: What a server, or a gateway before it, answers that knows no such path.
_NO_BATCHES = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
_STOOD_STILL = "The process that was to send it stood still for so long that others may have given it up."


def send_packed(context: RunContext, engine: Engine) -> None:
    """
    Send the batches that the run has put together; from any thread but the engine's.

    What the provider surely has not received is released: its rows are put together anew when the run goes on.
    What nobody can say that of stays as it is, and is looked for whenever batches are followed.

    Raises:
        ModelRefused: There is no key.
        RunHalted: The run stops meanwhile.
    """
    packer = context.packer
    if packer is None:
        return
    try:
        for batch_id in packer.batch_ids:
            if context.halted is None:
                engine.run(_send(batch_id, context, engine))
    finally:
        _release_unsent(set(packer.batch_ids), context.run_id, engine.ledger)
        packer.batch_ids.clear()


def _release_unsent(batch_ids: set[str], run_id: str, ledger: Ledger) -> None:
    packing = ledger.read(lambda c: list_batches(c, run_id=run_id, states=[BatchState.PACKING]))
    for batch_id in batch_ids.intersection(batch.batch_id for batch in packing):
        release = functools.partial(release_batch, batch_id=batch_id, reason="It was not sent.", now=time.time())
        ledger.write(release)


async def _send(batch_id: str, context: RunContext, engine: Engine) -> None:
    batch = engine.ledger.read(functools.partial(get_provider_batch, batch_id=batch_id))
    if not batch.n_items:
        return  # it is released with what was not sent
    client = await make_client(batch, engine.settings)
    try:
        await _submit(batch, client, context, engine)
    finally:
        await client.aclose()


async def make_client(batch: ProviderBatch, settings: Settings) -> BatchClient:
    """
    Who speaks with the provider of the batch.

    Raises:
        ModelRefused: There is no key.
    """
    model = parse_model(batch.model)
    return await make_batch_client(model, endpoint=batch.endpoint, timeout_s=settings.call_timeout_s)


async def _submit(batch: ProviderBatch, client: BatchClient, context: RunContext, engine: Engine) -> None:
    ledger, batch_id = engine.ledger, batch.batch_id
    assert context.packer is not None, "it was put together"  # noqa: S101 - narrows the type
    worker, now = context.packer.worker, time.time()
    reach("batch-packed")
    if not ledger.write(lambda c: mark_submitting(c, batch_id, worker=worker, key_mark=client.key_mark, now=now)):
        return  # it took so long that it was given up
    reach("batch-submitting")
    try:
        look = await _insist(batch, client, worker, context, engine)
    except SubmitUnknown as failure:
        line = str(failure)
        ledger.write(lambda c: record_reason(c, batch_id, line, time.time()))
        return
    except (CallFailed, RunHalted) as failure:
        why = _advise(failure) if isinstance(failure, CallFailed) else failure
        line = str(why)
        ledger.write(lambda c: release_batch(c, batch_id, reason=line, now=time.time()))
        if isinstance(why, CallFailed) and why.kind is not FailureKind.RETRY:
            context.halt(why)
        return
    reach("batch-sent")
    try:
        ledger.write(lambda c: mark_submitted(c, batch_id, look, time.time()))
    except LedgerRefused:
        # It was given up meanwhile: this process had stood still for long. Its rows may be asked elsewhere.
        with contextlib.suppress(CallFailed):
            await client.cancel(look.provider_id)
        raise
    reach("batch-submitted")


def _advise(failure: CallFailed) -> CallFailed:
    """The failure with the way out, where the other side may have no batches at all."""
    if failure.reply is None or failure.reply.status not in _NO_BATCHES:
        return failure
    line = f"{failure} Where it takes no batches, ask its rows online: --mode online."
    return CallFailed(failure.failure_class, line, is_retried=failure.is_retried, reply=failure.reply)


async def _insist(
    batch: ProviderBatch, client: BatchClient, worker: Worker, context: RunContext, engine: Engine
) -> BatchLook:
    """Send again what was surely not received, a few times."""
    n_left = MAX_ATTEMPTS

    def check() -> None:
        # It may have been suspended for hours since: the others judge by its lease.
        now = engine.ledger.read(functools.partial(get_provider_batch, batch_id=batch.batch_id))
        if not worker.is_current or now.state is not BatchState.SUBMITTING:
            raise CallFailed(FailureClass.OVERLOAD, _STOOD_STILL, is_retried=False)

    async def send() -> BatchLook:
        nonlocal n_left
        n_left -= 1
        try:
            items = read_items(batch, engine.ledger)
            return await client.submit(batch.batch_id, items, batch.n_items, check=check)
        except SubmitUnknown:
            raise
        except CallFailed as failure:
            failure.goes_on = failure.kind is FailureKind.RETRY and failure.is_retried and n_left > 0
            raise

    return await keep_asking(send, base_s=engine.settings.retry_base_s, sleep=context.sleep)


def read_items(batch: ProviderBatch, ledger: Ledger) -> Iterator[BatchItem]:
    """The requests of a batch, a page at a time."""
    after = -1
    while page := ledger.read(functools.partial(list_items, batch_id=batch.batch_id, after=after, limit=_PAGE)):
        for item in page:
            yield BatchItem(name_item(batch.batch_id, item.attempt_id, item.request_key), item.body)
        after = page[-1].attempt_id
