"""The doorbell: people are told that a release waits, and the run waits for a form. The lock is the ledger."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import Any

import pydantic
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout, ObjectNotFound
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from overnight.records import Release, RunState
from tasks.form import describe_release, make_form
from tasks.limit import not_counted
from tasks.nightly import RunEnded
from tasks.notify import notify_waiting
from tasks.report import publish_artifacts
from tasks.run import Run

#: How often a run that waits beside somebody looks whether they have decided.
_POLL_S = 2


@dataclass(frozen=True)
class Submitted:
    """What was handed in: the form's fields, or nothing where the run was forced on; and when, where that is known."""

    form: dict[str, Any] | None
    at: float | None = None


def ring(release: Release, run: Run) -> Submitted:
    """
    Tell people, and wait for the form of this round.

    Raises:
        RunEnded: Nobody waits beside the run, or nobody decided in time.
    """
    how = f"overnight review {run.run_id}"
    run.set_state(RunState.WAITING)
    shown = describe_release(release, run.find_said(release))
    create_markdown_artifact(shown, key=f"review-{run.run_id}", description=f"Waits: {how}")
    get_run_logger().info("Release %s waits for a person: resume this run here, or `%s`", release.release_id, how)
    if not run.deployed and not run.settings.wait:
        line = (
            f"Accepted rows that wait for a person: {release.n_rows:,}. `{how}` shows what to read and takes"
            f" verdicts; rows marked correct then go to {release.sink}, and nothing leaves before."
        )
        raise RunEnded(RunState.WAITING, line)
    publish_artifacts(run)
    notify_waiting(release, run)
    return _wait(release, run, shown)


def _wait(release: Release, run: Run, shown: str) -> Submitted:
    wait: Any = suspend_flow_run if run.deployed else functools.partial(pause_flow_run, poll_interval=_POLL_S)
    key = f"release-{release.digest}-{release.round}"
    waits_s = int((release.policy.waits_d or 0) * 86_400)
    try:
        with not_counted():
            form: RunInput = wait(
                wait_for_input=make_form(release, shown, demands_code=run.demands_code(release)),
                key=key,
                timeout=waits_s,
            )
    except (pydantic.ValidationError, ObjectNotFound):
        # The state was forced on: there is no form. The doorbell is not the lock, so it rings again.
        return Submitted(None)
    except FlowPauseTimeout:
        how = f"overnight review {run.run_id}"
        raise RunEnded(RunState.WAITING, f"Nobody decided in time; `{how}` still takes the verdicts.") from None
    return Submitted(form.model_dump(), _find_moment(key))


def _find_moment(key: str) -> float | None:
    """When the form was handed in: a worker may take minutes to pick the run up."""
    with get_client(sync_client=True) as client:
        for kind in ("suspended", "paused"):
            name = f"{kind}-{key}-response"
            for found in client.filter_flow_run_input(flow_run.id, key_prefix=name, limit=1, exclude_keys=set()):
                if found.created:
                    return min(found.created.timestamp(), time.time())
    return None
