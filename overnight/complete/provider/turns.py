"""The turns of a run in batch mode: before its rows are gone over, and after."""

from __future__ import annotations

import functools
import time
from datetime import datetime
from enum import Enum

from overnight.complete.context import RunContext
from overnight.complete.engine import Engine
from overnight.complete.provider.deadline import find_fallback_at
from overnight.complete.provider.following import OPEN, cancel_batches, follow_batches
from overnight.complete.provider.packing import Packer
from overnight.complete.provider.sending import send_packed
from overnight.failures import CallFailed
from overnight.ledger import Ledger
from overnight.ledger.provider_batch_items import count_arrived
from overnight.ledger.provider_batch_progress import record_awaited
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.terms import find_mode
from overnight.records import BatchState, ProviderBatch
from overnight.taxonomy import FailureClass

#: Turns without a wait, at the most: rows that still wait then are left for the next run.
_MOST_IDLE = 4
#: Batches that were sent in vain with less than this between them were so in one go.
_IN_A_ROW_S = 1800.0


class Turn(Enum):
    """What follows a turn."""

    #: Nothing of the run is with a provider.
    OVER = "over"
    #: Another one at once.
    AGAIN = "again"
    #: Another one when providers are done.
    WAIT = "wait"


def begin_turn(context: RunContext, engine: Engine, *, gives_up: bool = False) -> list[str]:
    """
    Record what has come, and decide how rows without an answer are asked now: together, or online where it is late.

    Args:
        context: The run's.
        engine: Where it is asked.
        gives_up: Whether its batches are given up whatever the time, as it is asked online from now on.

    Returns:
        What could not be looked at, and why rows are asked online, one line each.
    """
    ledger, settings, run_id = engine.ledger, engine.settings, context.run_id
    fallback_at = find_fallback_at(run_id, ledger, settings)
    faults = list(follow_batches(ledger, settings).faults)
    context.n_repaired, context.awaited, context.has_deadline = 0, set(), fallback_at is not None
    context.n_arrived = ledger.read(lambda connection: count_arrived(connection, run_id))
    is_late = fallback_at is not None and time.time() >= fallback_at
    if gives_up or is_late:
        faults += cancel_batches(ledger, settings, run_id).faults
        context.packer = None
    else:
        context.packer = Packer(ledger, engine.money.register(settings.lease_s), run_id, settings.batch_rows)
    context.has_batches = bool(_list_open(run_id, ledger))
    return [*faults, _say_late(run_id, ledger)] if is_late and not (gives_up or context.has_batches) else faults


def _say_late(run_id: str, ledger: Ledger) -> str:
    _, by_at = ledger.read(lambda connection: find_mode(connection, run_id))
    at = f"{datetime.fromtimestamp(by_at or 0.0).astimezone():%Y-%m-%d %H:%M}"
    return f"Run {run_id} is to be done by {at}, and batches may take longer: what none has answered is asked online."


def has_open_batches(run_id: str, ledger: Ledger) -> bool:
    """Whether rows of the run are with a provider, or may be."""
    return bool(_list_open(run_id, ledger))


def end_turn(context: RunContext, engine: Engine) -> Turn:
    """
    Send what was put together; whether the run has to wait for providers before it can go on.

    Raises:
        ModelRefused: There is no key.
    """
    ledger, is_late = engine.ledger, context.packer is None
    send_packed(context, engine)
    context.packer = None
    if context.halted or not sum(context.n_in_batches.values()):
        return Turn.OVER
    awaited = {batch.batch_id for batch in _list_open(context.run_id, ledger)}
    if not is_late:
        # Nobody can stop another run's for this one's deadline.
        others = {batch.batch_id for batch in ledger.read(functools.partial(list_batches, states=OPEN))}
        awaited |= context.awaited & others
    ledger.write(functools.partial(record_awaited, run_id=context.run_id, batch_ids=awaited))
    if awaited or _is_refused(context, engine):
        context.n_idle_turns = 0
        return Turn.WAIT
    context.n_idle_turns += 1
    # What they waited for has ended since, or was given up: it is judged, or put together anew.
    return Turn.AGAIN if context.halted is None and context.n_idle_turns < _MOST_IDLE else Turn.OVER


def _is_refused(context: RunContext, engine: Engine) -> bool:
    """Whether the provider takes no batches now, so that they are sent anew a little later; at last the run halts."""
    since, why = None, None
    for batch in engine.ledger.read(functools.partial(list_batches, run_id=context.run_id)):
        if batch.state is not BatchState.UNSENT:
            break
        if batch.submitting_at is None:
            continue  # nothing of it was ever to be sent
        if since is not None and since - batch.submitting_at > _IN_A_ROW_S:
            break
        since, why = batch.submitting_at, why or batch.reason
    if since is None:
        return False
    if time.time() - since > engine.settings.outage_s:
        line = f"The provider has taken no batch for {engine.settings.outage_s / 60:.0f} minutes: {why}"
        context.halt(CallFailed(FailureClass.OVERLOAD, line))
        return False
    return True


def _list_open(run_id: str, ledger: Ledger) -> list[ProviderBatch]:
    return ledger.read(functools.partial(list_batches, run_id=run_id, states=OPEN))
