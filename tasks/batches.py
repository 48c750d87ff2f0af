"""Waiting for provider batches: a deployed run holds no process meanwhile, one by hand polls or ends."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Suspended
from prefect.utilities.engine import propose_state_sync

from overnight.complete import find_fallback_at, follow_batches
from overnight.failures import OvernightError, RunHalted
from overnight.ledger import Ledger
from overnight.ledger.provider_batch_progress import BatchProgress, find_progress
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.terms import find_mode
from overnight.nights import WITH_PROVIDER, name_suspension
from overnight.records import BatchState, ProviderBatch, RunState
from overnight.report.batches import count_batches
from overnight.settings import Settings
from tasks.board import show_batches
from tasks.follower import find_no_follower, warn_of_no_follower
from tasks.limit import not_counted
from tasks.nightly import RunEnded
from tasks.run import Run

#: How long a provider may take to stop with a batch; so long a deployed run waits for it too, since its time is short.
_CANCELING_S = 900.0
_LATER = " It is sent again later."


def wait_for_batches(run: Run) -> None:
    """
    Wait until nothing of the run is with a provider any more, or until it must go on without.

    A deployed flow is suspended: its process ends here, and `follow-batches` has it resumed. Where somebody resumes it
    before, it goes over its rows, and is suspended again. It stays while a provider is stopping, and where nobody
    would resume it.

    Raises:
        RunEnded: Nobody waits beside the run: it goes on when somebody continues it.
        RunHalted: It was stopped while it waited; or nobody waits, and the provider took none of its batches.
    """
    refused, is_alone = _find_refused(run), not run.deployed and not run.settings.wait
    if is_alone and not refused and not _is_open(_find_progress(run)):
        return  # the last of them has ended a moment ago
    if refused and is_alone:
        # Not by itself: nobody is there who would.
        reason = (refused.reason or "no reason was recorded.").replace(_LATER, "")
        raise RunHalted(
            f"Run {run.run_id} halted: {refused.model} took no batch: {reason} Nothing was sent; mend that and"
            f" `overnight continue {run.run_id}`."
        )
    line, is_canceling = f"{WITH_PROVIDER}{_describe(run, refused)}.", _is_canceling(run)
    run.set_state(RunState.BATCHED, line)
    with get_client(sync_client=True) as client:
        show_batches(client, run.run_id, UUID(flow_run.id), run.ledger)
    get_run_logger().info(line)
    if run.deployed and not is_canceling and not warn_of_no_follower(run):
        _suspend(line, name_suspension(run.engine.context(run.run_id).pass_id))
    if is_alone:
        how = f"`overnight continue {run.run_id}` goes on with what has come by then."
        raise RunEnded(RunState.BATCHED, f"{line} {how}{_warn_of_deadline(run)}")
    with not_counted():
        _poll(run)
    run.refuse_if_stopped()
    run.set_state(RunState.RUNNING)


def _find_progress(run: Run) -> BatchProgress | None:
    with run.ledger.reading() as connection:
        return find_progress(connection, [run.run_id]).get(run.run_id)


def _find_refused(run: Run) -> ProviderBatch | None:
    """The newest batch of the run, where the provider took neither that nor has another one."""
    progress = _find_progress(run)
    with run.ledger.reading() as connection:
        newest = next(iter(list_batches(connection, run_id=run.run_id, limit=1)), None)
    # One without this moment was never sent to anybody.
    is_refused = newest is not None and newest.state is BatchState.UNSENT and newest.submitting_at is not None
    return newest if is_refused and not _is_open(progress) else None


def _describe(run: Run, refused: ProviderBatch | None) -> str:
    """What is out, and nothing that will have changed when it is read."""
    progress = _find_progress(run)
    if refused:
        reason = (refused.reason or "no reason was recorded").rstrip(".")
        return f"nothing, {refused.model} took no batch and is tried again at the next poll: {reason}"
    if progress is None:
        return "none of its batches is open, and it goes on shortly"
    requests = "1 request" if progress.n_items == 1 else f"{progress.n_items:,} requests"
    return f"{requests} in {count_batches(progress.n_batches)}"


def _warn_of_deadline(run: Run) -> str:
    """That nobody watches for its deadline, where it has one."""
    with run.ledger.reading() as connection:
        _, by_at = find_mode(connection, run.run_id)
    if by_at is None:
        return ""
    by = datetime.fromtimestamp(by_at).astimezone()
    how = f"`overnight continue {run.run_id} --wait` does"
    return f" By {by:%H:%M} nobody asks the rest online by itself: {how}."


def _is_open(progress: BatchProgress | None) -> bool:
    """Whether anything of it may still end by itself: what is in doubt does not."""
    return progress is not None and progress.n_batches > progress.n_in_doubt


def is_due(run_id: str, ledger: Ledger, settings: Settings) -> bool:
    """Whether the run has nothing to wait for any more, or no time."""
    with ledger.reading() as connection:
        progress = find_progress(connection, [run_id]).get(run_id)
    if not _is_open(progress):
        return True
    # Once they were asked to stop, it is for the providers to do so.
    with ledger.reading() as connection:
        sent = list_batches(connection, run_id=run_id, states=[BatchState.SUBMITTED])
    fallback_at = find_fallback_at(run_id, ledger, settings)
    is_late = fallback_at is not None and fallback_at <= time.time()
    return is_late and any(batch.canceled_at is None for batch in sent)


def _suspend(line: str, key: str) -> None:
    """
    End the process; Prefect's own `suspend_flow_run`, but that the state says what is waited for.

    Raises:
        OvernightError: Prefect's server refuses.
    """
    # A key of its own for each pass: one that Prefect has seen is passed without a wait.
    wanted: State[Any] = Suspended(pause_key=key, message=line)
    with get_client(sync_client=True) as client:
        state = propose_state_sync(client, wanted, UUID(flow_run.id))
    if not state.is_paused():
        raise OvernightError(
            f"Prefect did not suspend flow run {flow_run.id}: it is {state.name}. Its provider batches go on; run it"
            " again, and what they answered is a hit."
        )
    raise Pause(state=state)


def _poll(run: Run) -> None:
    """Look again and again; whoever stops the run is heard at once."""
    stopping = run.engine.context(run.run_id).stopping
    # Not before the first wait: they were sent a moment ago.
    while not stopping.wait(_find_pause_s(run)):
        # Of all: some of its rows may be in another run's.
        followed = follow_batches(run.ledger, run.settings)
        for fault in followed.faults:
            get_run_logger().warning("%s", fault)
        with get_client(sync_client=True) as client:
            show_batches(client, run.run_id, UUID(flow_run.id), run.ledger)
            if _may_leave(run, client) or is_due(run.run_id, run.ledger, run.settings):
                return


def _may_leave(run: Run, client: SyncPrefectClient) -> bool:
    """Whether a run that stayed may be suspended by now."""
    return run.deployed and not _is_canceling(run) and find_no_follower(client) is None


def _is_canceling(run: Run) -> bool:
    """Whether a provider has been asked to stop, and may be about to."""
    since = time.time() - _CANCELING_S
    with run.ledger.reading() as connection:
        sent = list_batches(connection, run_id=run.run_id, states=[BatchState.SUBMITTED])
    return any((batch.canceled_at or 0.0) > since for batch in sent)


def _find_pause_s(run: Run) -> float:
    poll_s, fallback_at = run.settings.batch_poll_s, find_fallback_at(run.run_id, run.ledger, run.settings)
    left_s = (fallback_at or 0.0) - time.time()
    return min(poll_s, left_s) if left_s > 0 else poll_s
