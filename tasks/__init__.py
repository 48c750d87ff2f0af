"""Prefect tasks: thin shells over the engine. A flow is made of these steps, in this order."""

from tasks._version import VERSION
from tasks.approve import ask_approval
from tasks.brief import brief_runs
from tasks.chain import chain_batches
from tasks.check import check_batches
from tasks.complete import complete_batches
from tasks.deliver import deliver_release
from tasks.load import load_batches, load_prompt
from tasks.nightly import nightly_flow
from tasks.remind import tell_reviewers
from tasks.report import publish_report
from tasks.retry import start_retry
from tasks.shadow import shadow_batches
from tasks.waking import follow_provider_batches, wake_runs
from tasks.watch import put_back_broken, tell_late_runs

__all__ = [
    "VERSION",
    "ask_approval",
    "brief_runs",
    "chain_batches",
    "check_batches",
    "complete_batches",
    "deliver_release",
    "follow_provider_batches",
    "load_batches",
    "load_prompt",
    "nightly_flow",
    "publish_report",
    "put_back_broken",
    "shadow_batches",
    "start_retry",
    "tell_late_runs",
    "tell_reviewers",
    "wake_runs",
]
