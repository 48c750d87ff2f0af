"""An answer that came with a provider batch: read, judged and recorded as one of a call of its own."""

from __future__ import annotations

from overnight.complete.asking import Asking, Outcome
from overnight.complete.judge import judge_reply
from overnight.complete.lane import Lane
from overnight.complete.request import Request
from overnight.complete.send import Sending, settle
from overnight.failpoints import reach
from overnight.failures import CallFailed
from overnight.ledger.attempts import NotOpened
from overnight.ledger.provider_batch_items import Arrived
from overnight.ledger.spend import Cap, night_scope, run_scope
from overnight.llm import endpoint_of, parse_model
from overnight.llm.batches import read_result
from overnight.records import Mode, Reply


async def take_answer(asking: Asking, request: Request) -> Outcome | None:
    """
    What the answer comes to that came for the request; None where it is to be asked again, or is another's to judge.

    Raises:
        CallFailed: It is no answer to use, and nothing is left to ask.
    """
    arrived = await asking.take_arrived(request.key)
    if arrived is None:
        return None
    asking.context.progress.calls += 1
    try:
        found = await _settle(asking, request, arrived)
    except CallFailed as failure:
        if not failure.goes_on:
            raise
        return None
    finally:
        reach("batch-judged")
    return None if isinstance(found, NotOpened) else found


async def _settle(asking: Asking, request: Request, arrived: Arrived) -> Outcome | NotOpened:
    lane = await _find_lane(asking, arrived)
    # Money and attempt are of the run that sent it, which may be another.
    caps = (Cap(run_scope(arrived.run_id)), Cap(night_scope(arrived.opened_at)))
    sending = Sending(
        arrived.attempt_id, lane, b"", caps, arrived.reserved_usd, n_lapses=0, mode=Mode.BATCH, model=arrived.model
    )

    async def read() -> tuple[Reply, str]:
        reply = read_result(lane.model, lane.endpoint, arrived.result)
        return reply, judge_reply(asking, request.values, request.course, lane.model, reply)

    return await settle(asking, request, sending, read, latency=lambda: None)


async def _find_lane(asking: Asking, arrived: Arrived) -> Lane:
    if arrived.model is None:
        return await asking.lane("own")
    return await asking.engine.lane(arrived.model, endpoint_of(parse_model(arrived.model)))
