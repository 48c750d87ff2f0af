"""Whether a row goes into a provider batch, and putting it there."""

from __future__ import annotations

import asyncio

from overnight.complete.asking import Asking, Outcome, leave
from overnight.complete.context import RunContext
from overnight.complete.lane import Lane
from overnight.complete.money import OverBudget
from overnight.complete.request import Request
from overnight.complete.send import make_opening
from overnight.ledger.attempts import NotOpened
from overnight.ledger.provider_batch_items import InBatch, find_in_batches
from overnight.ledger.spend import Shortfall
from overnight.llm.batches import find_limits
from overnight.records import BatchState, Mode, RowState
from overnight.taxonomy import MAX_ATTEMPTS, FailureClass

_PACKED = "It waits for a provider batch: `overnight batches --all` shows how they stand."
_ENDED = "It was in a provider batch that has just ended: it is asked in the next pass."
_NO_MONEY = "It waits for money that is set aside for rows of provider batches."
#: Where it is asked otherwise than at first: as many rows online as this, or as this share of all.
_REPAIRED_ONLINE, _SHARE_REPAIRED_ONLINE = 100, 10


def is_packed(asking: Asking, request: Request, lane: Lane) -> bool:
    """
    Whether the row's next send goes with a provider batch.

    A few rows that have to be asked otherwise are asked online, so that the night ends; where many are, something is
    wrong with more than them, and they go together.
    """
    context = asking.context
    if context.packer is None or find_limits(lane.model) is None:
        return False
    if context.has_deadline and request.course.n_lost >= MAX_ATTEMPTS:
        return False  # no batch more is made for it, and it is to be answered
    if not request.course.is_repair:
        return True
    context.n_repaired += 1
    return context.n_repaired > max(_REPAIRED_ONLINE, context.progress.total // _SHARE_REPAIRED_ONLINE)


async def hand_over(asking: Asking, request: Request, lane: Lane) -> Outcome | NotOpened:
    """
    Open the row's attempt and put it into a batch.

    Raises:
        CallFailed: A cap leaves no room for it, and nothing is with a provider that might.
    """
    context, course = asking.context, request.course
    if course.n_lost >= MAX_ATTEMPTS:
        return leave(course)
    body = await request.encode(lane)
    opening = make_opening(asking, request, lane, body, Mode.BATCH)
    assert context.packer is not None, "rows are packed where there is a packer"  # noqa: S101 - narrows the type
    found = await context.packer.pack(lane.model, lane.endpoint, opening, len(body))
    if isinstance(found, Shortfall):
        if not context.n_arrived and not context.has_batches:
            raise OverBudget(found)
        return wait_for_money(context)
    if isinstance(found, NotOpened):
        return found
    context.has_batches = True
    return Outcome(RowState.PENDING, None, FailureClass.IN_BATCH, None, _PACKED)


def wait_for_money(context: RunContext) -> Outcome:
    """A row for which there is none before rows of provider batches are done: in the next pass, or in the next turn."""
    why = FailureClass.BUDGET if context.n_arrived else FailureClass.IN_BATCH
    return Outcome(RowState.PENDING, None, why, None, _NO_MONEY)


async def find_waiting(asking: Asking, key: str) -> Outcome:
    """A row whose request has come to be with a provider since it was looked up."""
    found = await asyncio.to_thread(asking.engine.ledger.read, lambda connection: find_in_batches(connection, [key]))
    if key in found:
        asking.context.awaited.add(found[key].batch_id)
        return describe_waiting(found[key])
    return Outcome(RowState.PENDING, None, FailureClass.IN_BATCH, None, _ENDED)


def describe_waiting(found: InBatch) -> Outcome:
    """A row whose request is with a provider, of this run or another."""
    batch = f"provider batch {found.batch_id} of run {found.run_id}"
    if found.state is BatchState.IN_DOUBT:
        line = f"Nobody can tell whether {batch} was received. `overnight batches` says how to settle it."
        return Outcome(RowState.PENDING, None, FailureClass.IN_DOUBT, None, line)
    return Outcome(RowState.PENDING, None, FailureClass.IN_BATCH, None, f"It is in {batch}, which has not ended.")
